// Package merkle finds what differs between two nodes without sending what does not: [Set] is what a cluster knows of itself, as
// records of which the last written wins, and [Tree] is the digests of a node's samples. It is pure: no files, no sockets, no clocks.
//
// # Set
//
//	key ──hash──▶ one of 64 buckets      digest of a bucket: sum mod 2¹²⁸ of the digests of its records
//	                                     root: hash of the digests of all buckets
//
// Nodes compare roots; when these differ, the 64 digests of the buckets; and they exchange the records of the differing buckets alone. Sets
// that have got the same records, in whatever order and however often, are equal.
//
// A version is a hybrid logical clock (Kulkarni et al. 2014): wall time in ms << 16, but more than any version that was ever seen. So a record
// that replaces one that its writer knew wins over it, also when the writer's clock is an hour behind. Of two that did not know of
// each other the one with the later clock wins.
//
// # Tree
//
//	level 0    root
//	level 1    16 nodes of 256 partitions
//	level 2    256 nodes of 16 partitions
//	level 3    4096 partitions
//	leaves     (partition, window)
//
// A node is the hash of its 16 children; one without leaves below it is zero. [Tree.Compare] walks down from the root where digests differ: with d
// differing partitions of n it gets at most 3·16·16·d bytes of digests, and then the leaves of these partitions.
package merkle
