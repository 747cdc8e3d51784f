// Package proc runs real programs for tests: it builds them, finds ports for them, starts them, waits
// until they answer, and kills them. What a program printed is shown when its test fails.
//
//	Builder ──▶ executable ──▶ Start ──▶ Process ──▶ Until it answers ──▶ Kill, Stop
//
// A process never outlives the test that started it.
package proc
