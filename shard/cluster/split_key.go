package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/prometheus/common/model"

	"github.com/minitrue/minitrue/chunk/series"
)

// look says whether the frames of a key are as series.AppendLabel makes them, which is all that matters to where the series belongs: what
// stands in them is checked where they are stored. It returns the frames of the metric name and of the device, if there are any.
func look(key []byte, deviceLabel string) (name, device []byte, canonical bool) {
	for i := 0; i < len(key); {
		label, value, next := shortFrame(key, i)
		if next < 0 {
			if label, value, next = longFrame(key, i); next < 0 {
				return nil, nil, false
			}
		}
		switch {
		case len(value) == 0:
		case len(label) == len(model.MetricNameLabel) && string(label) == model.MetricNameLabel:
			name = key[i:next]
		case len(label) == len(deviceLabel) && string(label) == deviceLabel:
			device = key[i:next]
		}
		i = next
	}
	return name, device, true
}

// shortFrame reads the frame at key[i:] if each of its lengths is one byte, as almost all are; else next is −1.
func shortFrame(key []byte, i int) (label, value []byte, next int) {
	if i+3 >= len(key) {
		return nil, nil, -1
	}
	end, v := i+2+int(key[i+1]), i+4+int(key[i+3])
	if (key[i+1]|key[i+3]) >= 0x80 || v+1 >= len(key) || end > len(key) || v+2+int(key[v+1]) != end ||
		key[i] != tagLabel || key[i+2] != tagLabelName || key[v] != tagLabelValue || key[v+1] >= 0x80 {
		return nil, nil, -1
	}
	return key[i+4 : v], key[v+2 : end], end
}

// longFrame reads a frame of any length; next is −1 when it is none.
func longFrame(key []byte, i int) (label, value []byte, next int) {
	frame, next := fieldAt(key, i, tagLabel)
	if next < 0 {
		return nil, nil, -1
	}
	label, at := fieldAt(frame, 0, tagLabelName)
	if at < 0 {
		return nil, nil, -1
	}
	if value, at = fieldAt(frame, at, tagLabelValue); at != len(frame) {
		return nil, nil, -1
	}
	return label, value, next
}

// fieldAt reads a length-delimited field whose length is written as short as it can be.
func fieldAt(b []byte, i int, tag byte) (value []byte, next int) {
	if i >= len(b) || b[i] != tag {
		return nil, -1
	}
	n, w := binary.Uvarint(b[i+1:])
	if w <= 0 || w != uvarintLen(n) || n > uint64(len(b)-i-1-w) {
		return nil, -1
	}
	i += 1 + w
	return b[i : i+int(n)], i + int(n)
}

// tidy makes the key of a sloppy sender canonical, or rejects the series and returns nil.
func tidy(b *series.Batch, i int, lim series.Limits) []byte {
	loose := b.Series[i].Key
	key := []byte{}
	_, err := series.CheckKey(loose, lim)
	if err == nil {
		err = series.EachLabel(loose, func(name, value string) { key = series.AppendLabel(key, name, value) })
	}
	if err != nil {
		reason := "labels"
		var le *series.LabelError
		if errors.As(err, &le) {
			reason = le.Reason
		}
		b.Reject(i, reason, fmt.Errorf("series %d: %w", b.Number(i), err))
		return nil
	}
	return key
}
