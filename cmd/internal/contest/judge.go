package contest

import (
	"cmp"
	"fmt"
)

// tolerance is the relative difference that the order of a summation explains.
const tolerance = 1e-9

// asked is a question with the answers to it.
type asked struct {
	question string
	part     int    // askings differ in their range, and count from 0
	unlike   string // how MetricsQL is known to answer it otherwise; "" means that it does not
	answers  map[string]Answer
}

// answers are all that was answered about one load.
type answers map[string]*asked

// add notes an answer.
func (a answers) add(rival, question string, part int, unlike string, answer Answer) {
	key := fmt.Sprintf("%s %d", question, part)
	q := a[key]
	if q == nil {
		q = &asked{question: question, part: part, unlike: unlike, answers: map[string]Answer{}}
		a[key] = q
	}
	q.answers[rival] = answer
}

// judge compares all answers with those of one server: Prometheus's where it takes part, else MiniTrue's.
func (a answers) judge(r *Report, load string) {
	for _, name := range sortedKeys(a) {
		q := a[name]
		reference := cmp.Or(pick(q.answers, Prometheus), pick(q.answers, MiniTrue))
		if reference == "" || len(q.answers) < 2 {
			continue
		}
		for _, v := range r.rivals {
			if got, ok := q.answers[v.Name]; ok && v.Name != reference {
				q.judge(r, load, v, reference, got)
			}
		}
	}
}

func pick(answers map[string]Answer, name string) string {
	if _, ok := answers[name]; ok {
		return name
	}
	return ""
}

func (q *asked) judge(r *Report, load string, v Rival, reference string, got Answer) {
	want := q.answers[reference]
	d := compare(want, got)
	if d.Shape != "" && v.Name == VictoriaMetrics {
		if bare := got.nameless(); bare != nil {
			if b := compare(want, bare); b.Shape == "" {
				r.note("%s: MetricsQL keeps names of metrics where PromQL drops them; compared without", q.question)
				d = b
			}
		}
	}
	if d.Shape == "" && d.Value <= tolerance {
		return
	}
	text := d.Shape
	if text == "" {
		text = fmt.Sprintf("values differ by up to %.3g: %s", d.Value, d.Where)
	}
	if v.Name == VictoriaMetrics && q.unlike != "" {
		r.noteOnce(q.question+": "+q.unlike, fmt.Sprintf(", so that %s differs from %s: %s", v.Title, r.title(reference), text))
		return
	}
	r.disagree("%s, %s, range %d: %s differs from %s: %s", load, q.question, q.part, v.Title, r.title(reference), text)
}
