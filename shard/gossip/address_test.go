package gossip

import "testing"

func TestAddress(t *testing.T) {
	rows := []struct{ bind, advertise, at, want string }{
		{"127.0.0.1:0", "", "127.0.0.1:9000", "127.0.0.1:9000"},
		{"0.0.0.0:9000", "0.0.0.0:0", "10.0.0.1:9000", "10.0.0.1:9000"},
		{"0.0.0.0:9000", "db1.example:0", "10.0.0.1:9000", "db1.example:9000"},
		{"0.0.0.0:9000", "db1.example:7000", "10.0.0.1:9000", "db1.example:7000"},
		{"127.0.0.1:9000", "", "", "127.0.0.1:9000"},
	}
	for _, row := range rows {
		c := &Cluster{o: Options{Bind: row.bind, Advertise: row.advertise}}
		if row.at != "" {
			c.at.Store(&row.at)
		}
		if got := c.address().Gossip; got != row.want {
			t.Errorf("listening on %s, advertising %q, at %s: %s, want %s", row.bind, row.advertise, row.at, got, row.want)
		}
	}
}

func TestResolved(t *testing.T) {
	rows := map[string]int{"10.0.0.1:9": 1, "[::1]:9": 1, "10.0.0.1:0": 0, "10.0.0.1": 0, "": 0, "no such host.invalid:9": 0}
	for addr, want := range rows {
		if got := resolved(addr); len(got) != want {
			t.Errorf("%q is %v", addr, got)
		}
	}
}

func TestMemberNames(t *testing.T) {
	const id = "3f1c1d4e-0001-4000-8000-000000000001"
	for _, r := range []run{{1, 2}, {-5, 1<<32 - 1}, {1 << 62, 0}} {
		gotID, got, err := parseMember(r.member(id))
		if err != nil || gotID != id || got != r {
			t.Errorf("%v of %s becomes %v of %s: %v", r, id, got, gotID, err)
		}
	}
	for _, bad := range []string{"", id, id + ".", id + ".1", "x.000000000000000100000002", "{" + id + "}.000000000000000100000002", id + ".zz00000000000001" + "00000002"} {
		if _, _, err := parseMember(bad); err == nil {
			t.Errorf("%q is a member", bad)
		}
	}
}
