package mqtt

import "testing"

func TestCovers(t *testing.T) {
	rows := []struct {
		allowed, asked string
		want           bool
	}{
		{"#", "a/b", true}, {"#", "#", true}, {"#", "$SYS/x", false}, {"$SYS/#", "$SYS/x", true}, {"+/x", "$SYS/x", false},
		{"a/b", "a/b", true}, {"a/b", "a/b/c", false}, {"a/b", "a", false}, {"a/b", "a/+", false}, {"a/b", "a/#", false},
		{"a/#", "a", true}, {"a/#", "a/b/c", true}, {"a/#", "a/+/c/#", true}, {"a/#", "b", false}, {"a/#", "+/b", false},
		{"a/+", "a/b", true}, {"a/+", "a/+", true}, {"a/+", "a/b/c", false}, {"a/+", "a", false}, {"a/+", "a/#", false}, {"a/+", "a/", true},
		{"a/+/c", "a/b/c", true}, {"a/+/c", "a/+/c", true}, {"a/+/c", "a/b/d", false},
		{"a/#", "$share/g/a/b", true}, {"a/#", "$share/g/b", false}, {"", "", true}, {"/", "/", true}, {"a", "", false},
	}
	for _, r := range rows {
		if got := covers(r.allowed, r.asked); got != r.want {
			t.Errorf("covers(%q, %q) = %v", r.allowed, r.asked, got)
		}
	}
}

func TestPrefix(t *testing.T) {
	p := prefix("iot/sensors")
	rows := []struct {
		topic string
		has   bool
		at    place
		ok    bool
	}{
		{"iot/sensors/t", true, place{"t", ""}, true},
		{"iot/sensors/t/d", true, place{"t", "d"}, true},
		{"iot/sensors", true, place{}, false},
		{"iot/sensors/", true, place{}, false},
		{"iot/sensors//d", true, place{}, false},
		{"iot/sensors/t/", true, place{}, false},
		{"iot/sensors/t/d/x", true, place{}, false},
		{"iot/sensorsx/t", false, place{}, false},
		{"iot", false, place{}, false},
	}
	for _, r := range rows {
		if p.has(r.topic) != r.has {
			t.Errorf("has(%q) = %v", r.topic, !r.has)
		}
		if !r.has {
			continue
		}
		if at, ok := p.place(r.topic); ok != r.ok || ok && at != r.at {
			t.Errorf("place(%q) = %v, %v", r.topic, at, ok)
		}
	}
}
