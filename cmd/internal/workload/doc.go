// Package workload makes the load of the benchmarks and of the fault tests: a
// fixed population of sensors, their decimal random walks, and the request bodies
// that carry them. It is pure and deterministic: a [Shape] decides every byte, so a checker
// that knows the shape knows every value that was ever sent.
//
// # Population
//
// Series i is metric i mod 10 of device i div 10, with six labels:
//
//	__name__   temperature, humidity, …    10 values
//	building   building-00 … building-99   device mod 100
//	device_id  device-000000 …             device
//	model      model-0 … model-6           device mod 7
//	room       room-0000 …                 device div 100: a room has 100 devices
//	site       site-0 … site-9             building mod 10
//
// # Order
//
// As Prometheus does, a request carries one sample of each of many series: a
// [Batch] is a run of adjacent series, and each [Batch.Append] is its next step in time.
package workload
