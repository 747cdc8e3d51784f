// Reads the two Parquet files of a block with DuckDB and prints, as JSON, what it
// found of every series. Arguments: the folder that has node_modules, the block.
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const [modules, block] = process.argv.slice(2).map((p) => resolve(p));
const require = createRequire(join(modules, 'package.json'));
const { DuckDBInstance } = require('@duckdb/node-api');

const connection = await (await DuckDBInstance.create(':memory:')).connect();
const quote = (name) => `'${join(block, name).replaceAll("'", "''")}'`;
const reader = await connection.runAndReadAll(`
  SELECT s.series::VARCHAR AS series, s.partition::VARCHAR AS partition, s.metric AS metric,
         to_json(s.labels)::VARCHAR AS labels,
         count(*)::VARCHAR AS chunks, sum(c.samples)::VARCHAR AS samples, sum(c.stale)::VARCHAR AS stale,
         min(c.min_time)::VARCHAR AS min_time, max(c.max_time)::VARCHAR AS max_time,
         list(c.sum ORDER BY c.min_time)::VARCHAR[] AS sum, list(c.min ORDER BY c.min_time)::VARCHAR[] AS min,
         list(c.max ORDER BY c.min_time)::VARCHAR[] AS max, list(c."first" ORDER BY c.min_time)::VARCHAR[] AS first,
         list(c."last" ORDER BY c.min_time)::VARCHAR[] AS last, list(c.increase ORDER BY c.min_time)::VARCHAR[] AS increase,
         list(c.encoding ORDER BY c.min_time)::VARCHAR[] AS encoding,
         list(lower(hex(c.data)) ORDER BY c.min_time) AS data
  FROM ${quote('series.parquet')} s JOIN ${quote('chunks.parquet')} c USING (series)
  GROUP BY s.series, s.partition, s.metric, s.labels ORDER BY s.series`);
console.log(JSON.stringify(reader.getRowObjectsJson()));
