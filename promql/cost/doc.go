// Package cost bounds what a few bytes of PromQL may cost before the timeout and
// the limit of samples can hold. Prometheus's parser and engine recurse as deep as
// a query is nested, and a stack overflow ends the process; its engine allocates
// for every step of a subquery at once; its formatter takes time with the cube of
// the depth; and Go's regular expressions take memory with the product of
// their length and their groups.
//
// The bounds are far above what people and programs write. The package is pure:
// doors that take matchers from outside may use it wherever they are.
package cost
