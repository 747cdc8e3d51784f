// Package appender adapts a store that appends batches to Prometheus's
// storage.Storage, so that Prometheus's own test scripts (promqltest) and test
// suites can load and query it:
//
//	promqltest.RunBuiltinTestsWithStorage(t, engine, func(t testing.TB) storage.Storage {
//		return appender.New(store)
//	})
//
// It is for tests: it collects what it is given in maps, and commits it as one batch.
package appender
