// Package bench measures a server from outside, by the protocols that it speaks:
// [Load] writes samples by remote_write (as does a [Loader], for loads that are no [workload.Shape] from
// end to end), [Check] reads back by remote_read what was acknowledged, [Ask] times queries, and [Publish] sends
// messages by MQTT. Nothing here knows which server answers, so the same run compares MiniTrue with its peers.
//
//	workload.Shape ──▶ Load ──▶ server ──▶ Check ◀── acknowledged log
//	                    └──────────────────────────────────▲
//
// The costs of the server itself (CPU, memory, disk) come from its [Process] and its folder.
package bench
