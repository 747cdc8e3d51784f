// Package backup copies data folders into buckets, and back: folders, S3, Google Cloud Storage, Azure.
//
//	<bucket>/
//	  backups/01J….json                 a manifest: every file of a backup, with its object, size and SHA-256
//	  blocks/01J…/chunks.parquet-<xxh>  a file of a block, named by what is in it
//	  files/<sha256>                    any other file
//
// Blocks never change, so a backup uploads only the files that the bucket lacks, and most objects belong to many
// backups. The manifest is written last: a backup that was killed has none, what it uploaded is found by the next one, and [Bucket.Prune]
// removes it some time later. An object is trusted when it has been read back, or when a manifest lists it and
// its size is right; [Bucket.Verify] reads them all.
package backup
