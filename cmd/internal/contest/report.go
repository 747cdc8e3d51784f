package contest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Report is what a run found.
type Report struct {
	Date          time.Time         `json:"date"`
	Machine       string            `json:"machine"`
	Versions      map[string]string `json:"versions"` // by the name of the rival
	Sizes         any               `json:"sizes"`
	Figures       []*Figure         `json:"figures"`
	Notes         []string          `json:"notes"`         // what a reader of the figures must know
	Disagreements []string          `json:"disagreements"` // answers that differ, values that are lost or changed
	Failures      []string          `json:"failures"`      // scenarios that did not come to their end
	Raw           []Raw             `json:"raw"`

	command string
	rivals  []Rival
}

// Raw is something that was measured, as it was measured.
type Raw struct {
	Scenario string `json:"scenario"`
	Rival    string `json:"rival"`
	Name     string `json:"name"`
	Value    any    `json:"value"`
}

// Err is nil if the servers agree and every scenario came to its end. A goal that is missed is no error.
func (r *Report) Err() error {
	var parts []string
	if n := len(r.Disagreements); n > 0 {
		parts = append(parts, fmt.Sprintf("%d answers disagree, the first: %s", n, r.Disagreements[0]))
	}
	if n := len(r.Failures); n > 0 {
		parts = append(parts, fmt.Sprintf("%d scenarios failed, the first: %s", n, r.Failures[0]))
	}
	if len(parts) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s", r.command, strings.Join(parts, "; "))
}

// record notes a value of a figure; the first who does so says what the figure is.
func (r *Report) record(f Figure, rival string, v float64) {
	for _, have := range r.Figures {
		if have.ID == f.ID {
			have.Values[rival] = v
			return
		}
	}
	f.Values = map[string]float64{rival: v}
	r.Figures = append(r.Figures, &f)
}

// tail notes the 99th percentile beside a value.
func (r *Report) tail(id, rival string, v float64) {
	for _, f := range r.Figures {
		if f.ID == id {
			if f.P99 == nil {
				f.P99 = map[string]float64{}
			}
			f.P99[rival] = v
		}
	}
}

// note adds a note once.
func (r *Report) note(format string, args ...any) {
	r.noteOnce(fmt.Sprintf(format, args...), "")
}

// noteOnce adds a note with an example, unless it is there with another example.
func (r *Report) noteOnce(note, example string) {
	if !slices.ContainsFunc(r.Notes, func(have string) bool { return strings.HasPrefix(have, note) }) {
		r.Notes = append(r.Notes, note+example)
	}
}

func (r *Report) disagree(format string, args ...any) {
	r.Disagreements = append(r.Disagreements, fmt.Sprintf(format, args...))
}

func (r *Report) title(name string) string {
	for _, v := range r.rivals {
		if v.Name == name {
			return v.Title
		}
	}
	return name
}

// Markdown is the report for people.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s on %s.\n\n", r.Date.Format("2006-01-02"), r.Machine)
	header, line := []string{"figure"}, []string{"---"}
	for _, v := range r.rivals {
		header = append(header, strings.TrimSpace(v.Title+" "+r.Versions[v.Name]))
		line = append(line, "---:")
	}
	row(&b, append(header, "ratio to the better", "goal", "met")...)
	row(&b, append(line, "---:", "---", "---")...)
	for _, f := range r.Figures {
		cells := []string{f.Name}
		for _, v := range r.rivals {
			cell := ""
			if x, ok := f.Values[v.Name]; ok {
				cell = f.Unit.format(x)
				if p, ok := f.P99[v.Name]; ok {
					cell += " (p99 " + strings.TrimSuffix(f.Unit.format(p), " "+string(f.Unit)) + ")"
				}
			}
			cells = append(cells, cell)
		}
		ratio, met := "", ""
		if x, ok := f.Ratio(); ok {
			ratio = fmt.Sprintf("%.2f", x)
		}
		if yes, ok := f.Met(); ok {
			met = map[bool]string{true: "yes", false: "**no**"}[yes]
		}
		row(&b, append(cells, ratio, f.goal(r.title), met)...)
	}
	section(&b, "Notes", r.Notes)
	section(&b, "Disagreements", r.Disagreements)
	section(&b, "Failures", r.Failures)
	return b.String()
}

func row(b *strings.Builder, cells ...string) {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(c, "|", `\|`)
	}
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

func section(b *strings.Builder, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n\n", title)
	for _, l := range lines {
		fmt.Fprintf(b, "- %s\n", strings.ReplaceAll(l, "\n", "\n  "))
	}
}
