package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func written(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "minitrue.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestReadConfig(t *testing.T) {
	if c, err := readConfig(""); err != nil || c.Limits.Labels != 0 {
		t.Errorf("no file: %+v, %v", c, err)
	}
	if _, err := readConfig(written(t, "")); err != nil {
		t.Errorf("an empty file: %v", err)
	}
	if _, err := readConfig(written(t, "# all of it is a comment\n")); err != nil {
		t.Errorf("a comment: %v", err)
	}
	c, err := readConfig(written(t, `
limits: {labels: 20, label_name_bytes: 30, label_value_bytes: 40, request_bytes: 50, packet_bytes: 60, connections: 70}
mqtt:
  prefix: plant/sensors
  users:
  - {name: gateway, password_bcrypt: $2a$10$7EqJtq98hPqEX7fNZaFWoOhi5B0qX1eJ0JPDk2Pz0YpQ0JrL8e6Hy, publish: [plant/#], subscribe: [none]}
  broker: {username: u, password: p, client_id: c, group: g}
`))
	if err != nil {
		t.Fatal(err)
	}
	l, b := c.Limits, c.MQTT.Broker
	if l.Labels != 20 || l.LabelNameBytes != 30 || l.LabelValueBytes != 40 || l.RequestBytes != 50 || l.PacketBytes != 60 || l.Connections != 70 {
		t.Errorf("limits %+v", l)
	}
	if u := c.MQTT.Users; c.MQTT.Prefix != "plant/sensors" || len(u) != 1 || u[0].Name != "gateway" || u[0].Hash != "$2a$10$7EqJtq98hPqEX7fNZaFWoOhi5B0qX1eJ0JPDk2Pz0YpQ0JrL8e6Hy" || len(u[0].Publish) != 1 || len(u[0].Subscribe) != 1 {
		t.Errorf("mqtt %+v", c.MQTT)
	}
	if b.Username != "u" || b.Password != "p" || b.ClientID != "c" || b.Group != "g" {
		t.Errorf("broker %+v", b)
	}
	shown := c.String()
	for _, secret := range []string{"$2a$10$7EqJtq98hPqEX7fNZaFWoOhi5B0qX1eJ0JPDk2Pz0YpQ0JrL8e6Hy", "password: p\n"} {
		if strings.Contains(shown, secret) {
			t.Errorf("shows the secret %q:\n%s", secret, shown)
		}
	}
	if !strings.Contains(shown, "gateway") || c.MQTT.Users[0].Hash != "$2a$10$7EqJtq98hPqEX7fNZaFWoOhi5B0qX1eJ0JPDk2Pz0YpQ0JrL8e6Hy" || b.Password != "p" {
		t.Errorf("hides too much, or changes what it shows:\n%s", shown)
	}
}

func TestReadConfigRefuses(t *testing.T) {
	rows := []struct{ name, text, want string }{
		{"an unknown field", "limit: {labels: 3}", "limit"},
		{"a field deep down", "mqtt: {users: [{nom: x}]}", "nom"},
		{"a wrong type", "limits: {labels: many}", "many"},
		{"a negative limit", "limits: {labels: -1}", "labels"},
		{"no YAML", "{", "yaml"},
		{"two documents", "limits: {labels: 3}\n---\nlimits: {labels: 4}\n", "document"},
		{"a prefix with a wildcard", "mqtt: {prefix: plant/+}", "prefix"},
		{"a user without a name", "mqtt: {users: [{password_bcrypt: x}]}", "name"},
		{"a user without a password", "mqtt: {users: [{name: x}]}", "password_bcrypt"},
		{"a password that is no hash", "mqtt: {users: [{name: x, password_bcrypt: secret}]}", "password_bcrypt"},
	}
	for _, row := range rows {
		file := written(t, row.text)
		if _, err := readConfig(file); err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: error %v, want one with %q and the file", row.name, err, row.want)
		}
	}
}
