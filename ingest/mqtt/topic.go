package mqtt

import (
	"strings"
)

const (
	maxTopicBytes  = 4096
	maxTopicLevels = 64 // the subscription index takes time that grows with their square
)

// place is what a sensor topic says. Both are empty when the topic does not say it.
type place struct{ metric, device string }

// prefix is the part of the topics before the metric, without its last slash.
type prefix string

// has reports whether a topic lies under the prefix, and so is stored.
func (p prefix) has(topic string) bool {
	return len(topic) >= len(p) && topic[:len(p)] == string(p) && (len(topic) == len(p) || topic[len(p)] == '/')
}

// place reads {metric} or {metric}/{device_id} after the prefix.
func (p prefix) place(topic string) (place, bool) {
	if len(topic) <= len(p)+1 {
		return place{}, false
	}
	metric, device, two := strings.Cut(topic[len(p)+1:], "/")
	if metric == "" || two && (device == "" || strings.IndexByte(device, '/') >= 0) {
		return place{}, false
	}
	return place{metric, device}, true
}

// sane bounds what a topic or a filter costs the subscription index.
func sane(topic string) bool {
	return len(topic) <= maxTopicBytes && strings.Count(topic, "/") < maxTopicLevels
}

// covers reports whether an allowed filter includes all that an asked filter, or a topic,
// does. A filter that starts with a wildcard does not cover names that start
// with $ (MQTT 5, 4.7.2); a shared subscription is as wide as its filter.
func covers(allowed, asked string) bool {
	if rest, ok := strings.CutPrefix(asked, "$share/"); ok {
		_, asked, _ = strings.Cut(rest, "/")
	}
	if strings.HasPrefix(asked, "$") && !strings.HasPrefix(allowed, "$") {
		return false
	}
	for {
		a, aRest, aMore := strings.Cut(allowed, "/")
		q, qRest, qMore := strings.Cut(asked, "/")
		switch {
		case a == "#":
			return true
		case q == "#":
			return false
		case a != "+" && a != q: // + as a question is wider than any name
			return false
		}
		if !qMore {
			return !aMore || aRest == "#" // sport/# includes sport
		}
		if !aMore {
			return false
		}
		allowed, asked = aRest, qRest
	}
}
