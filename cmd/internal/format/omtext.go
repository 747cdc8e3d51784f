package format

import (
	"errors"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// text is the rest of a line. After what is not there, err is set and all is empty.
type text struct {
	s   string
	err error
}

var errText = errors.New("malformed text")

func (p *text) fail() string {
	p.s, p.err = "", errText
	return ""
}

func (p *text) skip(prefix string) bool {
	rest, ok := strings.CutPrefix(p.s, prefix)
	p.s = rest
	return ok
}

// word reads up to the next space.
func (p *text) word() string {
	w, _, _ := strings.Cut(p.s, " ")
	p.s = p.s[len(w):]
	return w
}

// name reads a name, quoted or up to one of some bytes.
func (p *text) name(ends string) string {
	if p.skip(`"`) {
		return p.quoted()
	}
	i := strings.IndexAny(p.s, ends)
	if i < 0 {
		i = len(p.s)
	}
	name := p.s[:i]
	p.s = p.s[i:]
	return name
}

// quoted reads the rest of a quoted text.
func (p *text) quoted() string {
	for i := 0; i < len(p.s); i++ {
		switch p.s[i] {
		case '\\':
			i++
		case '"':
			q := p.s[:i]
			p.s = p.s[i+1:]
			return unescape(q)
		}
	}
	return p.fail()
}

// labels reads the labels behind { up to and with }. One without a value is the metric name.
func (p *text) labels(b *labels.ScratchBuilder) {
	for p.err == nil {
		for p.skip(" ") || p.skip(",") {
		}
		if p.skip("}") {
			return
		}
		name := p.name("=,} ")
		p.skip(" ")
		if !p.skip("=") {
			if name == "" {
				p.fail()
			}
			b.Add(model.MetricNameLabel, name)
			continue
		}
		p.skip(" ")
		if name == "" || !p.skip(`"`) {
			p.fail()
			return
		}
		if v := p.quoted(); v != "" {
			b.Add(name, v)
		}
	}
}

func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n':
			b.WriteByte('\n')
		case '\\', '"':
			b.WriteByte(s[i])
		default:
			b.WriteString(s[i-1 : i+1])
		}
	}
	return b.String()
}
