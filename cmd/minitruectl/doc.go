// Command minitruectl is the operator's tool: it simulates sensors, measures servers, checks that what was
// acknowledged is there, looks into write-ahead logs and blocks, and verifies, saves, moves and restores data.
//
//	minitruectl simulate                sensors over MQTT
//	minitruectl bench load|query|mqtt   measure a server, MiniTrue or a peer
//	minitruectl bench compare           measure MiniTrue and its peers in turn, and compare their answers
//	minitruectl bench check             read back what a load was told is stored
//	minitruectl wal dump|repair         the write-ahead log
//	minitruectl block inspect           a block on disk
//	minitruectl health                  is a node ready?
//	minitruectl verify                  is a data folder what was written?
//	minitruectl backup                  a data folder into a bucket; list, verify and prune what is there
//	minitruectl restore                 a data folder out of a bucket
//	minitruectl import                  what Prometheus, other servers and files hold, by remote_write
//	minitruectl export                  samples to CSV, JSON lines, OpenMetrics, flat Parquet
//
// Flags are kebab-case, and accept underscores. An answer of "no" (a lost sample, a damaged
// block, a node that is not ready) is exit code 1.
package main
