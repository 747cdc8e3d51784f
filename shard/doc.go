// Package shard decides where series live. It is pure: no files, no sockets, no
// clocks, and the same input gives the same answer on every node.
//
// Every series belongs to one of [Partitions] fixed partitions, by the hash of its
// shard key; everything that moves between nodes moves by partition.
package shard
