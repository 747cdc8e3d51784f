// Package gossip keeps the nodes of a cluster in touch: who is in it, who is up, where each is found, and what the cluster has decided. Everybody else
// takes from it one value, the [shard.View], which changes when any of that does.
//
//	                     ┌──────────────── Cluster ────────────────┐
//	memberlist (SWIM) ──▶│ who is up ─┐                            │
//	                     │            ├─▶ View ──▶ writer, reader, repair
//	peers' records ─────▶│ records ───┘                            │
//	                     │    └─▶ cluster.bin, node.json           │
//	                     └─────────────────────────────────────────┘
//
// # Identity
//
// A node is a UUID, kept in node.json of its data folder together with that of its cluster. Name and addresses may change; data belongs to the UUID. A node of
// another cluster is refused, and so is the later of two that run with the same UUID, as happens when a data folder is copied. Each run of
// a node is a member of its own for memberlist, so that a node that comes back at once, here or elsewhere, need not wait until its past is forgotten.
//
// # Records
//
// What the cluster knows is a [merkle.Set]; each change is written to cluster.bin before it is answered.
//
//	node/<uuid>                    its part in placement: zone, weight, state, since when
//	addr/<uuid>                    its name and addresses; only the node itself writes it
//	copied/<uuid>                  the epoch in whose change it has copied all that it has to
//	setting/replication-factor     how many copies are wanted
//	setting/replication-placed     how many there are; the ring changes from one to the other
//	level/<uuid>                   the decision about write-consistency that it has applied, and whether it has levelled for it
//	setting/write-consistency      one, quorum or all
//	setting/write-consistency-held by how many copies all that was ever acknowledged is held, by which decision, and by how many writes were before
//	setting/deletes-swept          from when on there are records of deletes
//	delete/<uuid>, …               of others, opaque here
//
// A record that is written is sent around as it is. Besides, each node tells another one its root every second. When that differs,
// the 64 digests of the buckets follow, and then the records of those that differ, both ways:
//
//	a ──root──▶ b ──digests──▶ a ──records of differing buckets──▶ b ──what it has newer──▶ a
//
// # Life of a node
//
//	first of a cluster ────────────────────────────▶ active ──Leave, Forget──▶ leaving ──Left, Copied──▶ gone
//	with seeds ──reaches one──▶ joining ──Activate──▶  ╵
//
// Down is no state: a node that does not answer keeps its part until somebody forgets or replaces it. Peers that were ever known and the
// seeds are tried for ever, and so a split that has healed becomes one cluster again.
package gossip
