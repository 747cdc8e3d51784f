// Package aggregate answers POST /query: one number about the samples of one
// device, of all devices of a metric, or of whatever a PromQL selector matches,
// over a span of time. What it asks is an interface that answers with
// statistics, so that nothing is decoded here.
//
//	{"device_id": "sensor-1", "metric_name": "temperature", "operation": "avg",
//	 "start_time": 1700000000, "end_time": 0}
//
//	{"device_id": "sensor-1", "metric_name": "temperature", "operation": "avg",
//	 "result": 21.5, "count": 3600, "duration_ns": 48211}
//
// # Request
//
//   - operation: avg, sum, min, max, count, first, last, range (max − min) or increase (what a counter
//     gained, resets taken into account, not extrapolated); or a list of them. Over several series first is
//     the first sample of the series that begins earliest, last likewise, and increase adds up.
//   - metric_name, and device_id unless all devices are meant; or matchers, a PromQL
//     selector as in "temperature{site=~\"a|b\"}". What is given of them must all match.
//   - start_time and end_time, both inclusive: Unix seconds, whole or fractional;
//     or text, RFC 3339 or relative to now as in "now-1h30m". 0, null or nothing means
//     from the beginning and until now. Times are rounded to milliseconds.
//
// # Answer
//
// To a list of operations the result is an object, {"avg": 21.5, "max": 23}.
//
// The result is null when the count is 0: an unknown device or metric is no error.
// NaN and infinities, which JSON numbers cannot say, are the strings "NaN",
// "+Inf" and "-Inf". Stale markers do not count. NaN is left out of min and max,
// and makes a sum NaN. Native histograms are left out.
//
// An error is {"error": "…", "field": "operation"}, the field only where one is
// to blame. 400 is a malformed request, 413 one over 1 MiB, 415 one that says
// that it is not JSON (what curl -d says is passed over), 503 says that it may be tried again.
package aggregate
