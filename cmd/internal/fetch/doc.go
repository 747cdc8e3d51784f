// Package fetch reads runs from a server: samples by remote_read, streamed where the server can, and what it knows of metric
// families by Prometheus's HTTP API.
//
//	Server.Read(query) ──▶ frame: chunks ──▶ Run, Run, …
//
// One frame is in memory at a time.
package fetch
