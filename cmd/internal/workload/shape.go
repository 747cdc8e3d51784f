package workload

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// Shape says which samples a load has. Two equal shapes have the same samples.
type Shape struct {
	Series   int    `json:"series"`
	Samples  int    `json:"samples"`     // samples a series
	Start    int64  `json:"start_ms"`    // time of the first sample, ms
	Interval int64  `json:"interval_ms"` // ms between samples of a series
	Seed     uint64 `json:"seed"`
	Values   Values `json:"values"`
}

// Values says how the values of a series go on.
type Values string

const (
	// Walk is a decimal random walk within the range of the sensor.
	Walk Values = "walk"
	// Unique is a whole number that no other sample of the load has.
	Unique Values = "unique"
)

// Check refuses a shape that has no samples, or more than can be told apart.
func (s Shape) Check() error {
	switch {
	case s.Series < 1 || s.Series > 100_000_000:
		return fmt.Errorf("%d series: want 1 to 100,000,000", s.Series)
	case s.Samples < 1 || s.Samples > uniqueSteps:
		return fmt.Errorf("%d samples a series: want 1 to %d", s.Samples, uniqueSteps)
	case s.Interval < 1:
		return fmt.Errorf("%d ms between samples: want at least 1", s.Interval)
	case s.Values != Walk && s.Values != Unique:
		return fmt.Errorf("values %q: want %q or %q", s.Values, Walk, Unique)
	}
	return nil
}

// Time is the time of a step, in milliseconds; steps count from 0.
func (s Shape) Time(step int) int64 { return s.Start + int64(step)*s.Interval }

// End is the time of the last sample, in milliseconds.
func (s Shape) End() int64 { return s.Time(s.Samples - 1) }

// Total is the number of samples of the whole load.
func (s Shape) Total() int64 { return int64(s.Series) * int64(s.Samples) }

// Metrics are the names of the metrics, in the order of their numbers.
func Metrics() []string {
	names := make([]string, len(sensors))
	for i, s := range sensors {
		names[i] = s.name
	}
	return names
}

// Device is the device_id of a series.
func Device(series int) string { return fmt.Sprintf("device-%06d", series/len(sensors)) }

// Site, Building and Room are the label values with these numbers.
func Site(n int) string     { return "site-" + strconv.Itoa(n) }
func Building(n int) string { return fmt.Sprintf("building-%02d", n) }
func Room(n int) string     { return fmt.Sprintf("room-%04d", n) }

// Sizes of the population.
const (
	Sites       = 10
	Buildings   = 100
	RoomDevices = 100 // devices a room
	models      = 7
)

// Labels are the labels of a series, sorted.
func Labels(series int) labels.Labels {
	device := series / len(sensors)
	building := device % Buildings
	return labels.FromStrings(
		model.MetricNameLabel, sensors[series%len(sensors)].name,
		"building", Building(building),
		"device_id", Device(series),
		"model", "model-"+strconv.Itoa(device%models),
		"room", Room(device/RoomDevices),
		"site", Site(building%Sites),
	)
}

// Lookup is the inverse of [Labels]: the number of the series with exactly these labels.
func Lookup(ls labels.Labels) (series int, ok bool) {
	device, err := strconv.Atoi(strings.TrimPrefix(ls.Get("device_id"), "device-"))
	if err != nil || device < 0 {
		return 0, false
	}
	name := ls.Get(model.MetricNameLabel)
	for m, s := range sensors {
		if s.name == name {
			series = device*len(sensors) + m
			return series, labels.Equal(ls, Labels(series))
		}
	}
	return 0, false
}
