// Reads flat Parquet with DuckDB and prints what it found of every series as JSON. Arguments: the folder that has
// node_modules, the file.
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const [modules, file] = process.argv.slice(2).map((p) => resolve(p));
const require = createRequire(join(modules, 'package.json'));
const { DuckDBInstance } = require('@duckdb/node-api');

const connection = await (await DuckDBInstance.create(':memory:')).connect();
const reader = await connection.runAndReadAll(`
  SELECT metric, to_json(labels)::VARCHAR AS labels, count(*)::VARCHAR AS samples, sum(value)::VARCHAR AS sum,
         epoch_ms(min(timestamp))::VARCHAR AS first, epoch_ms(max(timestamp))::VARCHAR AS last
  FROM '${file.replaceAll("'", "''")}' GROUP BY metric, labels`);
console.log(JSON.stringify(reader.getRowObjectsJson()));
