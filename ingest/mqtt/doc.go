// Package mqtt takes samples from sensors: [Broker] is an MQTT broker inside the
// node, [Client] subscribes to a broker outside. Both acknowledge a message only after its
// samples are durable, and both gather the messages of all connections into
// batches, so that one commit pays for many acknowledgements:
//
//	connection ─┐ parse, add          ┌─ commit ─┐ in order of arrival:
//	connection ─┼──────────▶ open ────┼─ commit ─┼─▶ deliver to subscribers, PUBACK/PUBREC
//	connection ─┘           batch     └──────────┘
//
// When the open batch is full and every commit is busy, connections are not read
// until there is room: memory is bounded, and senders wait.
//
// # Topics and payloads
//
// With the prefix iot/sensors, these are stored:
//
//	iot/sensors/{metric}              {"device_id":"d1","metric_name":"temperature","timestamp":1700000000,"value":21.5}
//	                                  or an array of such objects
//	iot/sensors/{metric}/{device_id}  21.5, or an object, or an array of objects
//
// An object becomes a sample of the series {__name__=metric_name, device_id=device_id}. A
// metric_name or device_id that is absent or null is taken from the topic; where
// both say something, the payload wins. Other fields are ignored, and of a field that is there
// twice the last counts. Names are any non-empty UTF-8 of at most 1,024 bytes, and those of a message, the topic's counted
// for each object, have at most 8 MiB and 8 times the payload together.
//
// A timestamp below 10^11 is in seconds, below 10^14 in milliseconds, below
// 10^17 in microseconds, else in nanoseconds; it may have a fraction, stand in a string, or be
// a time of RFC 3339; it is rounded to milliseconds. None, or null, means the time of
// receipt. A value is a number, stored as the nearest float64; true is 1 and false is 0; a
// string may hold a number, NaN, Inf, +Inf or -Inf, in any case of letters.
//
// A payload that is none of this is acknowledged, since sending it again cannot help, and put
// aside with its reason; of an array, the good objects are stored. Messages on other topics are
// not stored: to them the broker is an ordinary broker.
package mqtt
