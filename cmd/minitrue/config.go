package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"
)

// config is the file of --config: what is too rare or too long for a flag.
type config struct {
	Limits struct {
		Labels          int   `yaml:"labels,omitempty"`            // labels a series
		LabelNameBytes  int   `yaml:"label_name_bytes,omitempty"`  // bytes of a label name
		LabelValueBytes int   `yaml:"label_value_bytes,omitempty"` // bytes of a label value
		RequestBytes    int64 `yaml:"request_bytes,omitempty"`     // bytes of a compressed remote_write body
		PacketBytes     int   `yaml:"packet_bytes,omitempty"`      // bytes of an MQTT packet
		Connections     int   `yaml:"connections,omitempty"`       // MQTT connections
	} `yaml:"limits,omitempty"`
	MQTT struct {
		Prefix string `yaml:"prefix,omitempty"` // of the topics that are stored
		Users  []struct {
			Name      string   `yaml:"name"`
			Hash      string   `yaml:"password_bcrypt" json:"-"`
			Publish   []string `yaml:"publish,omitempty"`
			Subscribe []string `yaml:"subscribe,omitempty"`
		} `yaml:"users,omitempty"`
		Broker struct {
			Username string `yaml:"username,omitempty"`
			Password string `yaml:"password,omitempty"`
			ClientID string `yaml:"client_id,omitempty"`
			Group    string `yaml:"group,omitempty"`
		} `yaml:"broker,omitempty"` // how to log in at the outside broker
	} `yaml:"mqtt,omitempty"`
}

func readConfig(path string) (c config, err error) {
	if path == "" {
		return c, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("%s: there is more than one YAML document", path)
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func (c config) check() error {
	l := c.Limits
	for name, n := range map[string]int64{
		"labels": int64(l.Labels), "label_name_bytes": int64(l.LabelNameBytes), "label_value_bytes": int64(l.LabelValueBytes),
		"request_bytes": l.RequestBytes, "packet_bytes": int64(l.PacketBytes), "connections": int64(l.Connections),
	} {
		if n < 0 {
			return fmt.Errorf("limits: %s: %d is negative", name, n)
		}
	}
	if strings.ContainsAny(c.MQTT.Prefix, "+#") {
		return fmt.Errorf("mqtt: prefix: %q has a wildcard", c.MQTT.Prefix)
	}
	for i, u := range c.MQTT.Users {
		if u.Name == "" {
			return fmt.Errorf("mqtt: users: user %d has no name", i+1)
		}
		if _, err := bcrypt.Cost([]byte(u.Hash)); err != nil {
			return fmt.Errorf("mqtt: users: %s: password_bcrypt is not a bcrypt hash, as htpasswd -nB makes: %w", u.Name, err)
		}
	}
	return nil
}

// String returns the configuration as YAML, without secrets.
func (c config) String() string {
	c.MQTT.Users = slices.Clone(c.MQTT.Users)
	for i := range c.MQTT.Users {
		c.MQTT.Users[i].Hash = "<secret>"
	}
	if c.MQTT.Broker.Password != "" {
		c.MQTT.Broker.Password = "<secret>"
	}
	b, err := yaml.Marshal(c)
	if err != nil {
		return ""
	}
	return string(b)
}
