// Package docker holds the image of a node (Dockerfile) and a compose.yaml that runs one among Mosquitto, Prometheus,
// Grafana and simulated sensors. There is no code here but its test: every flag, port and path in those files exists.
package docker
