// Package cluster makes many nodes answer as one: [Writer] gives every series to the nodes that keep it, and [Reader] asks
// so many of them that each acknowledged sample is seen. Every node does both for whoever asks it; there is no leader. A
// node that is alone takes the same way, which then leads to its own storage at once.
//
// # Writing
//
//	                                               ┌─▶ Local.Append, when this node is one of them
//	batch ─▶ join ─▶ split by partition ─▶ encode ─┼─▶ POST /peer/v1/write ─▶ AcceptHandler ─▶ its Local
//	                                       once    └─▶ a hint, when the node is down, fails or is too slow
//
// Batches that come while others are under way go together as one ([series.Batch.Join]), so that many small ones cost as few requests and syncs as
// a large one; when several senders write at once, they are waited for half as long as a round takes, and 1 ms at most. Nobody waits longer than
// 20 ms for a round that is held up, and when batches cannot be stored together each is tried by itself.
//
// Partitions with the same writers share a route, and what takes a route is encoded once, as a part of a remote_write 1.0
// body: a series keeps the bytes of its key. Nodes that get the same parts share the compressed body, too. What is
// sent is a copy: it may go on after the append has returned, in bounded memory. The batch is kept until the last node has answered, where its
// memory can be lent ([series.Batch]), else what was sent without labels is encoded with them before the append returns: a node may need it.
//
// Of a series that all who get it have stored before, the id is sent in the place of the labels (a brief, which stands before the body). Which
// these are is a guess: a node that does not know one of them, since it began anew, say, stores nothing and says so, and gets
// the same with labels. With it the route is remembered: who knows the id does not look at the labels again. Hints always have labels. Bodies for one node that come while it answers go together, too, in one
// request and one sync there.
//
// A write is acknowledged when enough of the owners, and during a change of the ring enough of the next owners as well, have
// stored it ([Consistency]); else it fails with [series.ErrUnavailable], at the moment when that is certain, and the sender tries again.
// Storing twice is storing once. A node that missed an acknowledged write gets a hint, which is never counted.
//
// A write says when it came, and which deletes its sender has applied ([Deleter]). A node that has applied a younger delete leaves out what that took; one
// that has not heard of as many waits, and else refuses: so a delete takes what was written before it and nothing else, in whatever order the two arrive.
//
// A series that a node rejects is not stored there, and that is all, as long as enough others store it. It is rejected
// as a whole when enough nodes have answered and too few of those that may still answer could store it: so a
// replica whose series are at their limit neither stops the others nor hides that it is full.
//
// # Reading
//
// A partition is read from as many owners as it takes to meet each acknowledged write; where the digests of older windows are
// equal, one replica's data is enough, and so is what it adds up of it ([Reader.Aggregate], [Reader.Scatter]). What replicas answer is merged by the rule of package chunk. A node that is slow or
// fails is replaced by another owner; when there is none left the query is unavailable, or partial for those who allow it.
package cluster
