// Package repair makes the copies of the data equal again, and moves data when nodes come and go. It pulls: each node looks for what
// its peers have and it lacks, and takes that through the ordinary append path. Both sides of a pair do so, and since samples are
// merged by a rule that does not ask who was first, both end with the union.
//
//	            ┌───────────── Repairer ─────────────┐  Question    ┌─ peer ─┐
//	Round ─────▶│ walk: sums → leaves → pieces       │─────────────▶│ Answer │
//	Step ──────▶│        → digests of series         │◀─────────────│        │
//	Repair ────▶│ take what differs ── Append ▶ store│◀── samples ──│ Fetch  │
//	            └────────────────────────────────────┘              └────────┘
//
// # The walk
//
// Two nodes compare one sum of digests over the partitions that both own. Where it differs they compare groups of partitions, partitions,
// and the windows of those ([shard.Leaf]). Of a window that differs, the time is cut into pieces of 30 s, with the number and the digest of
// the samples of each: this finds when a node was away. Where it has next to nothing of these pieces it takes them whole; else
// digests of the series say which of them to take. So what is exchanged grows with what is missing.
//
// # Writes on their way
//
// Under load the newest window always differs, by writes that one of the two has already got. What is younger than Options.Settle is
// therefore not looked at, and a partition of the newest window only when it differed several times in a row. A window that
// is over, and one that did not change since the last comparison, are repaired at once.
//
// # Deletes
//
// A node that has not heard of a delete would give back what was deleted. Nodes whose deletes differ are not compared, and
// [Repairer.Delete] keeps samples that were asked for before a delete from being stored after it.
//
// # Changes of the ring
//
// A node that gains partitions copies them by the same walk: first from one owner of each, then, begun after all nodes knew the new ring and
// the writes by the old one were over, once from so many owners that each acknowledged write is among what they have. They need not agree
// in the end, since whatever is written later goes to it as well; a kill in the middle costs nothing but looking again. When all that
// gain have copied, the change is finished. A node that has lost partitions asks their owners to take from it what they lack, and lets its
// own copy go when each of them has; a node that leaves does so before it is gone.
//
// When writes are to be with more owners than before, each owner walks the others once in the same way, for what was acknowledged without it.
package repair
