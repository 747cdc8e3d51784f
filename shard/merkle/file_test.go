package merkle

import (
	"encoding/hex"
	"slices"
	"testing"
)

func TestGoldenBytes(t *testing.T) {
	s := NewSet("n1")
	put(t, s, 1, "a", "xyz")
	put(t, s, 1, "b", "")
	if _, err := s.Delete(2, "c"); err != nil {
		t.Fatal(err)
	}
	want := "4d54534554000001" +
		"0161" + "0000000000010000" + "026e31" + "0478797a" +
		"0162" + "0000000000010001" + "026e31" + "01" +
		"0163" + "0000000000020000" + "026e31" + "00" +
		"2ebb89ab"
	if got := hex.EncodeToString(s.Encode()); got != want {
		t.Errorf("the bytes are\n%s, want\n%s", got, want)
	}
	if got, want := s.Root().String(), "8d2cd342546b369cabfb76fb706923eb"; got != want {
		t.Errorf("the root is %s, want %s", got, want)
	}
	back, err := Decode(s.Encode(), "n1")
	if err != nil || back.Root() != s.Root() {
		t.Fatalf("the set changes in a file: %v", err)
	}
	if r := put(t, back, 1, "d", ""); r.Version != 2<<16+1 {
		t.Errorf("after reading the next version is %#x", r.Version)
	}
}

func TestDamageIsFound(t *testing.T) {
	s := NewSet("n1")
	put(t, s, now, "a", "xyz")
	put(t, s, now, "b", "uvw")
	b := s.Encode()
	for i := range b {
		for bit := range 8 {
			bad := slices.Clone(b)
			bad[i] ^= 1 << bit
			if _, err := Decode(bad, ""); err == nil {
				t.Fatalf("bit %d of byte %d is flipped, and nobody says so", bit, i)
			}
		}
		if _, err := Decode(b[:i], ""); err == nil {
			t.Fatalf("the first %d bytes are taken for a set", i)
		}
	}
}

func FuzzDecodeRecords(f *testing.F) {
	f.Add([]byte{})
	f.Add(Record{Key: "k", Value: []byte("v"), Version: 7, Origin: "o"}.AppendTo(nil))
	f.Add(Record{Key: "k", Version: 7}.AppendTo(Record{Key: "j", Value: []byte{}, Version: 1}.AppendTo(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := DecodeRecords(b)
		if err != nil {
			return
		}
		var again []byte
		for _, r := range records {
			again = r.AppendTo(again)
		}
		back, err := DecodeRecords(again)
		if err != nil || len(back) != len(records) {
			t.Fatalf("%d records become %d: %v", len(records), len(back), err)
		}
		for i := range back {
			if back[i].Key != records[i].Key || back[i].Compare(records[i]) != 0 {
				t.Fatalf("%v becomes %v", records[i], back[i])
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	s := NewSet("n1")
	put(f, s, now, "a", "xyz")
	f.Add(s.Encode())
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(b, "n1")
		if err != nil {
			return
		}
		back, err := Decode(s.Encode(), "n1")
		if err != nil || back.Root() != s.Root() {
			t.Fatalf("a set changes in a file: %v", err)
		}
	})
}
