// Package promql answers PromQL over HTTP as a Prometheus server does: with
// Prometheus's own engine, its paths, parameters, JSON, error types and status
// codes, so that Grafana, promtool and every other client work unchanged. What
// it queries is an interface; it holds no data itself.
//
//	GET or POST /api/v1/query ──▶ parameters ──▶ engine ──▶ storage.Querier
//	                                               │
//	client ◀── gzip, zstd ◀── JSON, as it is made ◀┘
//
// # What differs from Prometheus
//
// A request that Prometheus answers by chance, or dies of, is refused with a
// sentence: a form that cannot be parsed or is over 10 MiB, times that are not
// finite or that the engine cannot count, a step under a millisecond, and what
// package cost refuses. An unknown path and a wrong method get a JSON error. A
// query that finds no free slot in time is a timeout (503), and so is one whose
// storage ran into its deadline; storage that says that it is unavailable is 503
// too. Start timestamps are not stored, so the header that asks for them has no
// effect.
package promql
