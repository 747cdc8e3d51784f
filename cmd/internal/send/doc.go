// Package send writes runs by remote_write to whatever speaks it: 2.0 when the target does, else 1.0.
//
//	Send(run) ──hash of labels──▶ lane: batch ──▶ encode, snappy, POST ──▶ again, after a pause, until it is answered
//	                              lane: …
//
// A series keeps to its lane, so that its samples arrive in the order in which they came. Every lane holds at most three
// batches, which bounds memory. Sending a batch twice is harmless, so what is not answered is sent again.
package send
