// Package ingest is what every write goes through between its door and the
// storage: [Pipeline] checks times, limits how much is under way at once and
// counts; [Ring] remembers the last messages that could not be stored; [Tap]
// streams what was accepted to WebSocket readers.
//
//	remote ─┐                 ┌──────────── Pipeline ────────────┐
//	        ├─▶ Door.Append ─▶│ check times → gate → next.Append │─▶ cluster.Writer
//	mqtt   ─┘                 └────────────────┬─────────────────┘
//	  └─ bad payload ─▶ Ring                   └─ after the commit ─▶ Tap ─▶ GET /ws
//	                                              other nodes' Taps ──┴──▶ other nodes' readers
//
// A batch is the caller's again when Append returns: nothing here keeps a slice
// of it, and the tap copies what it queues.
package ingest
