// Package admin serves what operators ask of a store over HTTP: to delete, to take a snapshot, to tidy up.
//
//	POST, PUT /api/v1/admin/tsdb/delete_series?match[]=…&start=…&end=…   204, as Prometheus
//	POST, PUT /api/v1/admin/tsdb/clean_tombstones                        204, as Prometheus
//	POST, PUT /api/v1/admin/tsdb/snapshot                                {"status":"success","data":{"name":"…"}}
//	POST      /api/v1/admin/tsdb/flush                                   204: memory is in blocks
//	POST      /api/v1/admin/tsdb/compact                                 204: what may be one block is one
//
// A page of another site that a browser shows cannot ask for any of it.
package admin
