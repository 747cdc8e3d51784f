// Package simulate publishes readings of made-up sensors over MQTT: the sensors of
// a demo node and of `minitruectl simulate`. They are ordinary clients of a
// broker, and what they send goes the way of every other message.
//
//	device-1 … device-N  ──▶  iot/sensors/{metric}  {"device_id","metric_name","timestamp","value"}
package simulate
