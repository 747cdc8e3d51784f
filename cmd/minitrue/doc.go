// Command minitrue is a node: it takes samples in, keeps them, and answers
// questions about them.
//
// main.go reads the flags (flags.go, config.go), and node.go runs what wire.go has
// put together, from start to drain:
//
//	signal ──▶ doors close ──▶ what is under way is committed ──▶ store closes
package main
