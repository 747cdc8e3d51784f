// Package contest runs MiniTrue and its rivals in turn on the same load and the same questions, and
// compares what that cost, how long it took, and what they answered.
//
//	scenario ──▶ rival ──▶ start ──▶ load ──▶ merge ──▶ ask ──▶ restart ──▶ stop
//	                                  │         │        │        │
//	                                  └─────────┴── figures ──────┴──▶ Report ──▶ Markdown, JSON
//	                                            └── answers ──▶ do they agree?
//
// One server runs at a time, on loopback, with a new folder, so that nothing else takes its processors. What was
// written is known, so that every answer is held against the workload as well as against the other servers.
package contest
