// Package quiz makes up random series and random questions about them, for tests that compare two answers: those of two engines over one store, or
// of a cluster and of one node that holds everything.
//
//	Quiz ─┬─▶ Sensor ──▶ samples, to be stored on both sides
//	      └─▶ Question ──▶ an answer of each side
//
// The series differ in step, character and life time, share names and labels, have gaps, stale markers, resets of counters and numbers that are
// none. Everything follows from the source of random numbers.
package quiz
