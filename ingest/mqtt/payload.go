package mqtt

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/minitrue/minitrue/chunk/series"
)

const (
	maxName  = 1024 // bytes of a metric name or a device id
	maxFlaws = 1000 // of a message that are told apart
)

// parsed is what a message says. It is reused: reset keeps the memory.
type parsed struct {
	label string // that names the device; "" means device_id
	keys  []byte // of all items, one after another
	items []item
	flaws []flaw
	most  int // bytes of keys: names may come from the topic, and then an item of a few bytes has some thousand
	more  int // flaws beyond maxFlaws
}

type item struct {
	end int // of its key in keys
	t   int64
	v   float64
}

// flaw is a part of a message that cannot be stored.
type flaw struct {
	reason string // short and stable, for a metric
	err    error
	part   []byte // of the payload
}

func (p *parsed) reset() {
	clear(p.flaws)
	p.keys, p.items, p.flaws, p.more = p.keys[:0], p.items[:0], p.flaws[:0], 0
}

// mostKeys is how many bytes of keys a message may have.
func mostKeys(payload []byte) int { return 8<<20 + 8*len(payload) }

const keptParsed = 16 << 10 // bytes of keys, and about of the rest, that a connection keeps for its next message

// trim lets go of what only a large message needed.
func (p *parsed) trim() {
	if cap(p.keys) > keptParsed {
		p.keys = nil
	}
	if cap(p.items) > keptParsed/24 {
		p.items = nil
	}
	if clear(p.flaws); cap(p.flaws) > keptParsed/64 {
		p.flaws = nil
	}
}

// fits says whether the key of one more item has room.
func (p *parsed) fits(metric, device string) bool {
	return len(p.keys)+len(metric)+len(device)+len(p.label)+32 <= p.most
}

func (p *parsed) add(metric, device string, t int64, v float64) {
	label := cmp.Or(p.label, "device_id")
	if label < "__name__" {
		p.keys = series.AppendLabel(p.keys, label, device)
	}
	p.keys = series.AppendLabel(p.keys, "__name__", metric)
	if label > "__name__" {
		p.keys = series.AppendLabel(p.keys, label, device)
	}
	p.items = append(p.items, item{len(p.keys), t, v})
}

func (p *parsed) flaw(part []byte, reason, format string, args ...any) {
	if len(p.flaws) >= maxFlaws {
		p.more++
		p.flaws[maxFlaws-1] = flaw{"more", fmt.Errorf("%d more parts of the message cannot be stored", p.more+1), nil}
		return
	}
	p.flaws = append(p.flaws, flaw{reason, fmt.Errorf(format, args...), part})
}

// parse reads a message that lies at a place and came at now, in milliseconds. The
// usual shapes are read in one go; all others, and all that is wrong, by encoding/json.
func (p *parsed) parse(at place, payload []byte, now int64) {
	p.reset()
	if p.fast(at, payload, now) {
		return
	}
	p.reset()
	p.slow(at, payload, now)
}

func (p *parsed) slow(at place, payload []byte, now int64) {
	p.most = mostKeys(payload)
	text := bytes.TrimSpace(payload)
	switch {
	case !utf8.Valid(text):
		p.flaw(payload, "utf8", "the payload is not valid UTF-8")
	case len(text) == 0:
		p.flaw(payload, "empty", "the payload is empty")
	case text[0] == '[':
		var all []json.RawMessage
		if err := json.Unmarshal(text, &all); err != nil {
			p.flaw(payload, "json", "the payload is not JSON: %w", err)
			return
		}
		for _, one := range all {
			p.object(at, one, now)
		}
	case text[0] == '{':
		p.object(at, text, now)
	default:
		p.plain(at, text, now)
	}
}

// plain reads a payload that is a value alone.
func (p *parsed) plain(at place, text []byte, now int64) {
	v, reason, err := valueOf(text)
	if err != nil {
		if v, err = numberText(string(text)); err != nil { // nan, without quotes
			if !json.Valid(text) {
				reason, err = "json", errors.New("the payload is neither JSON nor a number")
			}
			p.flaw(text, reason, "%w", err)
			return
		}
	}
	if at.device == "" {
		p.flaw(text, "device_id_missing", "a plain value needs the device in the topic: {metric}/{device_id}")
		return
	}
	p.named(text, at.metric, at.device, now, v)
}

// object reads one JSON object.
func (p *parsed) object(at place, text []byte, now int64) {
	if len(text) == 0 || text[0] != '{' {
		p.flaw(text, "item_type", "an item of the array is not an object")
		return
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		p.flaw(text, "json", "the payload is not JSON: %w", err)
		return
	}
	metric, err := nameOf(fields["metric_name"], at.metric)
	if err != nil {
		p.flaw(text, "metric_name", "metric_name: %w", err)
		return
	}
	device, err := nameOf(fields["device_id"], at.device)
	if err != nil {
		p.flaw(text, "device_id", "device_id: %w", err)
		return
	}
	if device == "" {
		p.flaw(text, "device_id_missing", "there is no device_id, neither in the payload nor in the topic")
		return
	}
	t, err := timeField(fields["timestamp"], now)
	if err != nil {
		p.flaw(text, "timestamp", "timestamp: %w", err)
		return
	}
	v, reason, err := valueOf(fields["value"])
	if err != nil {
		p.flaw(text, reason, "value: %w", err)
		return
	}
	p.named(text, metric, device, t, v)
}

// named adds a sample when its names may be stored.
func (p *parsed) named(text []byte, metric, device string, t int64, v float64) {
	switch {
	case len(metric) > maxName || len(device) > maxName:
		p.flaw(text, "name_length", "a name has more than %d bytes", maxName)
	case !utf8.ValidString(metric) || !utf8.ValidString(device):
		p.flaw(text, "utf8", "the topic is not valid UTF-8")
	case !p.fits(metric, device):
		p.flaw(text, "size", "the names of all items of the message have more than %d bytes: send fewer at once", p.most)
	default:
		p.add(metric, device, t, v)
	}
}

func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// nameOf reads a name, which is the topic's when the payload has none.
func nameOf(raw json.RawMessage, topic string) (string, error) {
	if absent(raw) {
		return topic, nil
	}
	if raw[0] != '"' {
		return "", fmt.Errorf("%.32s is not a string", raw)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", err
	}
	if s == "" {
		return "", errors.New("it is empty")
	}
	return s, nil
}

// valueOf reads a value that is valid JSON.
func valueOf(raw json.RawMessage) (v float64, reason string, err error) {
	if absent(raw) {
		return 0, "value_missing", errors.New("there is none")
	}
	switch c := raw[0]; {
	case string(raw) == "true":
		return 1, "", nil
	case string(raw) == "false":
		return 0, "", nil
	case c == '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return 0, "value_type", err
		}
		v, err = numberText(s)
		return v, "value_type", err
	case c == '-' || c >= '0' && c <= '9':
		v, err = numberText(string(raw))
		return v, "value_range", err
	}
	return 0, "value_type", fmt.Errorf("%.32s is not a number", raw)
}

// numberText reads a number as JSON writes it, or one of the names that JSON lacks.
func numberText(s string) (float64, error) {
	switch strings.ToLower(s) {
	case "nan":
		return math.NaN(), nil
	case "inf", "+inf":
		return math.Inf(1), nil
	case "-inf":
		return math.Inf(-1), nil
	}
	if end, _ := numberEnd([]byte(s), 0); end != len(s) {
		return 0, fmt.Errorf("%.32q is not a number", s)
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, fmt.Errorf("%.32s is larger than a float64 can be", s)
	}
	return v, nil
}
