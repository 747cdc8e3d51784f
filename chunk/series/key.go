package series

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/zeebo/xxh3"
)

// ID is the identity of a series: the XXH3-128 hash of its key, high word
// first. It is not a defence against labels that were made to collide.
type ID struct{ Hi, Lo uint64 }

// HashKey returns the id of the series with this key. The key must be
// canonical: use it on what [AppendKey] made or [ParseKey] confirmed.
func HashKey(key []byte) ID {
	h := xxh3.Hash128(key)
	return ID{h.Hi, h.Lo}
}

// Bytes is the id as it stands in files, 16 bytes, big endian.
func (id ID) Bytes() (b [16]byte) {
	binary.BigEndian.PutUint64(b[:8], id.Hi)
	binary.BigEndian.PutUint64(b[8:], id.Lo)
	return b
}

// IDFromBytes is the inverse of [ID.Bytes].
func IDFromBytes(b [16]byte) ID {
	return ID{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// Compare orders ids as their bytes are ordered: -1, 0 or 1.
func (id ID) Compare(o ID) int {
	switch {
	case id.Hi < o.Hi, id.Hi == o.Hi && id.Lo < o.Lo:
		return -1
	case id == o:
		return 0
	}
	return 1
}

func (id ID) String() string {
	b := id.Bytes()
	return hex.EncodeToString(b[:])
}

const (
	tagFrame = 0x0a // a label, and in it the name: field 1, length-delimited
	tagValue = 0x12 // the value: field 2, length-delimited
)

// AppendLabel appends one label's frame to a key. Labels must come in byte
// order of their names.
func AppendLabel(dst []byte, name, value string) []byte {
	n := 1 + uvarintLen(len(name)) + len(name) + 1 + uvarintLen(len(value)) + len(value)
	dst = append(dst, tagFrame)
	dst = binary.AppendUvarint(dst, uint64(n))
	dst = append(dst, tagFrame)
	dst = binary.AppendUvarint(dst, uint64(len(name)))
	dst = append(dst, name...)
	dst = append(dst, tagValue)
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(dst, value...)
}

func uvarintLen(n int) int {
	l := 1
	for ; n >= 0x80; n >>= 7 {
		l++
	}
	return l
}

// AppendKey appends the key of a label set.
func AppendKey(dst []byte, ls labels.Labels) []byte {
	ls.Range(func(l labels.Label) { dst = AppendLabel(dst, l.Name, l.Value) })
	return dst
}

// Limits bound the labels of one series. The zero value is usable.
type Limits struct {
	Labels int // labels a series; 0 means 128
	Name   int // bytes of a label name; 0 means 1024
	Value  int // bytes of a label value; 0 means 16384
}

func (l Limits) withDefaults() Limits {
	if l.Labels == 0 {
		l.Labels = 128
	}
	if l.Name == 0 {
		l.Name = 1024
	}
	if l.Value == 0 {
		l.Value = 16384
	}
	return l
}

// A LabelError is a label set that cannot be stored, and why.
type LabelError struct {
	Reason string // short and stable, for a metric: "label_order"
	Detail string // for a person
}

func (e *LabelError) Error() string { return e.Detail }

func labelErrorf(reason, format string, args ...any) error {
	return &LabelError{reason, fmt.Sprintf(format, args...)}
}

var errFrame = errors.New("malformed label frame")

// nextLabel cuts the first frame off a key. Fields may come in either order, as
// protobuf allows, and unknown ones are refused: this is the slow path's
// reader, and what it returns is re-encoded before it is trusted.
func nextLabel(key []byte) (name, value, rest []byte, err error) {
	if len(key) == 0 || key[0] != tagFrame {
		return nil, nil, nil, errFrame
	}
	frame, rest, ok := cutBytes(key[1:])
	if !ok {
		return nil, nil, nil, errFrame
	}
	for len(frame) > 0 {
		tag := frame[0]
		var field []byte
		if field, frame, ok = cutBytes(frame[1:]); !ok {
			return nil, nil, nil, errFrame
		}
		switch tag {
		case tagFrame:
			name = field
		case tagValue:
			value = field
		default:
			return nil, nil, nil, errFrame
		}
	}
	return name, value, rest, nil
}

func cutBytes(b []byte) (field, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, false
	}
	return b[w : w+int(n)], b[w+int(n):], true
}

// EachLabel calls f for every label of a key, in order. The strings alias the
// key. It returns an error for a malformed key.
func EachLabel(key []byte, f func(name, value string)) error {
	for len(key) > 0 {
		name, value, rest, err := nextLabel(key)
		if err != nil {
			return err
		}
		f(view(name), view(value))
		key = rest
	}
	return nil
}

// KeyText is a key as people write it.
func KeyText(key []byte) string {
	var b labels.ScratchBuilder
	_ = EachLabel(key, func(name, value string) { b.Add(name, value) })
	b.Sort()
	return b.Labels().String()
}

// CheckKey checks a label set that came from outside, and reports whether it is
// canonical: made as AppendKey makes it. If it is good but not canonical, the
// series is that of AppendKey of the labels that EachLabel finds. The error is a [*LabelError].
func CheckKey(key []byte, lim Limits) (canonical bool, err error) {
	lim = lim.withDefaults()
	var last []byte
	named, n, minimal := false, 0, 0
	for rest := key; len(rest) > 0; n++ {
		name, value, next, err := nextLabel(rest)
		if err != nil {
			return false, labelErrorf("label_malformed", "label %d is malformed protobuf", n+1)
		}
		if err := checkLabel(name, value, last, n, lim); err != nil {
			return false, err
		}
		named = named || string(name) == model.MetricNameLabel
		minimal += labelLen(len(name), len(value))
		// The name must lie before its value, as frames of minimal size have it.
		if uintptr(unsafe.Pointer(&name[0])) > uintptr(unsafe.Pointer(&value[0])) {
			minimal = -1 << 40
		}
		last, rest = name, next
	}
	if !named {
		return false, labelErrorf("metric_name_missing", "the series has no metric name: add the label __name__")
	}
	return minimal == len(key), nil
}

// labelLen is the size of a label's frame.
func labelLen(name, value int) int {
	n := 1 + uvarintLen(name) + name + 1 + uvarintLen(value) + value
	return 1 + uvarintLen(n) + n
}

// ParseKey checks a label set as CheckKey does and builds its labels, which do
// not alias the key.
func ParseKey(key []byte, lim Limits, b *labels.ScratchBuilder) (labels.Labels, error) {
	if _, err := CheckKey(key, lim); err != nil {
		return labels.EmptyLabels(), err
	}
	b.Reset()
	err := EachLabel(key, func(name, value string) { b.Add(strings.Clone(name), strings.Clone(value)) })
	return b.Labels(), err
}

// checkLabel judges label n of a set, whose predecessor is named last.
func checkLabel(name, value, last []byte, n int, lim Limits) error {
	switch {
	case n >= lim.Labels:
		return labelErrorf("label_count", "the series has more than %d labels", lim.Labels)
	case len(name) == 0:
		return labelErrorf("label_name_empty", "label %d has an empty name", n+1)
	case len(name) > lim.Name:
		return labelErrorf("label_name_length", "the label name %s has %d bytes, at most %d are allowed", short(string(name)), len(name), lim.Name)
	case len(value) == 0:
		return labelErrorf("label_value_empty", "the label %s has an empty value: leave the label out", short(string(name)))
	case len(value) > lim.Value:
		return labelErrorf("label_value_length", "the value of label %s has %d bytes, at most %d are allowed", short(string(name)), len(value), lim.Value)
	case !utf8.Valid(name):
		return labelErrorf("label_utf8", "the label name %s is not valid UTF-8", short(string(name)))
	case !utf8.Valid(value):
		return labelErrorf("label_utf8", "the value of label %s is not valid UTF-8", short(string(name)))
	case n > 0 && string(name) == string(last):
		return labelErrorf("label_duplicate", "the label %s is there twice", short(string(name)))
	case n > 0 && string(name) < string(last):
		return labelErrorf("label_order", "the label %s comes after %s: labels must be sorted by name", short(string(name)), short(string(last)))
	}
	return nil
}

// short quotes text for an error, at most 64 bytes of it.
func short(s string) string {
	if len(s) > 64 {
		return fmt.Sprintf("%q…", s[:64])
	}
	return fmt.Sprintf("%q", s)
}

// view is b as a string without a copy, valid as long as b is not written.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
