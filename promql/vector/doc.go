// Package vector evaluates the common shapes of PromQL a series at a time over columns, on all
// cores, where Prometheus's engine goes sample by sample on one: an instant selector, rate, increase, delta and
// sum, count, avg, min, max, last, present _over_time, alone or under sum, count, avg, min, max and
// group. Whatever is around these shapes, Prometheus's engine evaluates over their points, and
// whatever else there is it evaluates as if this package were not there.
//
//	query ─▶ plan ─▶ scan ─▶ groups ─▶ partial per part ─▶ merge ─▶ finish ─▶ answer
//	          │                  (series → units → windows)              └─▶ splice ─▶ engine
//	          └─▶ engine
//
// In a cluster aggregations over series that this node does not keep are left to those that do ([Scatter], [Answerer]), topk and bottomk
// too: what they add up is merged with what is here.
//
// # Promise
//
// Answers are those of the engine: the same series in the same order, the same points, the same annotations.
// Values are the same bits where they are computed from samples in the engine's order; where
// statistics of chunks or of parts of them, or parts of a sum, stand for samples, their relative error is at most 1e-12. What
// cannot keep that is computed from samples after all, or left to the engine: native histograms in the
// selection, numbers near the largest, label sets that are there twice once the name is dropped.
//
// # Units
//
// The samples of a series become units: a sample, or a chunk that no window cuts, by its statistics. A window
// then is a range of units, and costs a difference of prefix sums, a step of a queue, or a look at its two ends.
// A chunk that windows cut again and again is hot: it stays decoded, with sums, so that a single window takes what it holds
// of it as one unit, and it is not even read (hot.go).
package vector
