// Package format writes runs to files and reads them back: CSV, JSON lines, OpenMetrics text, and flat Parquet.
//
//	             float bits   NaN payload, stale markers   native histograms   labels of any UTF-8
//	csv          exact        kept: NaN(0x7ff…)            skipped             kept
//	jsonl        exact        kept: "NaN(0x7ff…)"          kept                kept
//	openmetrics  exact        NaN alone; stale skipped     skipped             kept
//	parquet      exact        kept: the bits               skipped             kept
//
// What is skipped is counted. Out and in again is the identity for all that is kept. Readers take bounded memory, whatever
// the file says; a line or a row is at most [MaxLine] bytes.
package format
