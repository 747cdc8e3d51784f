// Package grafana holds what Grafana is provisioned with: a data source, and the dashboards below
// dashboards/. There is no code here but its test, which runs every expression of every dashboard
// against a demo node and wants data.
package grafana
