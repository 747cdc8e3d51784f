// Package replicate sends what a node accepts to other clusters, such as that of another data centre: to anything that takes remote_write 1.0,
// without anybody waiting for it, and without losing what was acknowledged.
//
//	ingest ─▶ Replicator.Append ─┬─▶ the cluster's writer
//	                             └─▶ a queue on disk for each target ─▶ rounds of 4 lanes ─▶ POST /api/v1/write
//
// A batch is first stored by the own cluster and then, without what was rejected, put into the queues; an append returns when both are
// durable. A queue is package hint's, with its segments, checksums and bound; its bodies are remote_write messages. When there is no room, what comes newly is not
// kept for that target: it is stored here alone, counted and logged with its time, so that there is one gap of which both ends are known, and
// what was promised before is kept.
//
// The queue is read in rounds of some MiB. A round is spread over lanes by the hash of the labels, and the next one begins when all lanes are
// done: so a series' samples arrive in the order in which they were accepted, and memory is bounded. Then the place in the queue is written down. What was
// sent and not yet noted when a process is killed is sent again, which changes nothing: writes are idempotent.
//
// What a target refuses for good (400, 409, 413, 422) is counted and logged and not sent again, alone where the target says or lets itself be
// asked what it was; with any other answer, and with none, it is tried again for as long as it takes.
//
// Requests carry [Header], and what comes with it is stored and not sent on: clusters may replicate to each other, in any number, as long as
// each knows all others.
package replicate
