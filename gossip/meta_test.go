package gossip_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/faac1247/rollcall/gossip"
	"github.com/faac1247/rollcall/protocol"
)

// fullMeta has every field at its longest in practice.
func fullMeta() gossip.Meta {
	return gossip.Meta{
		Boot:        "01JD9Z0V3K8Q6T4M2N7X5C1BWE",
		Client:      "wss://node-17.voice.eu-central.example.com:8443/ws",
		API:         "https://node-17.voice.eu-central.example.com:8080",
		MNS:         "https://node-17.voice.eu-central.example.com:8083",
		Version:     "v1.24.0-rc.3+0123456789abcdef",
		State:       gossip.Draining,
		Digest:      math.MaxUint64,
		StoreAway:   true,
		Listening:   true,
		Connections: math.MaxUint32,
		Format:      math.MaxUint8,
		Shape:       protocol.ClusterShape{Partitions: 65536, Hash: "consistent1-xxhash64", Load: 1.25, Replication: 1000},
	}
}

func TestMetaRoundTrip(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]gossip.Meta{"full": fullMeta(), "least": {Boot: "b"}} {
		b, err := m.Encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := gossip.DecodeMeta(b); err != nil || got != m {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		t.Logf("%s: %d bytes", name, len(b))
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(-1, -1, 60)
		m := gossip.Meta{
			Boot:        rapid.StringMatching(`[A-Za-z0-9_.-]{1,64}`).Draw(t, "boot"),
			Client:      text.Draw(t, "client"),
			API:         text.Draw(t, "api"),
			MNS:         text.Draw(t, "mns"),
			Version:     text.Draw(t, "version"),
			State:       gossip.State(rapid.Byte().Draw(t, "state")),
			Digest:      rapid.Uint64().Draw(t, "digest"),
			StoreAway:   rapid.Bool().Draw(t, "away"),
			Listening:   rapid.Bool().Draw(t, "listening"),
			Connections: rapid.Uint32().Draw(t, "connections"),
			Format:      rapid.Byte().Draw(t, "format"),
			Shape: protocol.ClusterShape{
				Partitions:  int(rapid.Uint32().Draw(t, "partitions")),
				Replication: int(rapid.Uint32().Draw(t, "replication")),
				Load:        rapid.Float64().Draw(t, "load"),
				Hash:        text.Draw(t, "hash"),
			},
		}
		b, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := gossip.DecodeMeta(b); err != nil || got != m {
			t.Fatalf("%+v became %+v, %v", m, got, err)
		}
	})
}

// TestMetaOfOtherBuilds: one that adds a field and one that lacks some are
// both read, without a new format.
func TestMetaOfOtherBuilds(t *testing.T) {
	t.Parallel()
	m := fullMeta()
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	later := append(b, 200, 3, 'n', 'e', 'w')
	if got, err := gossip.DecodeMeta(later); err != nil || got != m {
		t.Errorf("a field of a later build: %+v, %v", got, err)
	}
	if got, err := gossip.DecodeMeta([]byte("\x01\x01\x02b7")); err != nil || got != (gossip.Meta{Boot: "b7"}) {
		t.Errorf("the least a build can say: %+v, %v", got, err)
	}
}

// TestMetaBytesNeverChange pins the format that running nodes read.
func TestMetaBytesNeverChange(t *testing.T) {
	t.Parallel()
	b, err := gossip.Meta{
		Boot: "b1", Client: "ws://c", API: "a", MNS: "m", Version: "v1", State: gossip.Serving, Digest: 300,
		StoreAway: true, Listening: true, Connections: 7, Format: 2,
		Shape: protocol.ClusterShape{Partitions: 4093, Replication: 100, Load: 1.25, Hash: "h"},
	}.Encode()
	want := "\x01" + "\x01\x02b1" + "\x02\x06ws://c" + "\x03\x01a" + "\x04\x01m" + "\x05\x02v1" + "\x06\x01\x01" +
		"\x07\x02\xac\x02" + "\x08\x01\x03" + "\x09\x01\x07" + "\x0a\x01\x02" + "\x0b\x02\xfd\x1f" + "\x0c\x01\x64" +
		"\x0d\x09\x80\x80\x80\x80\x80\x80\x80\xfa\x3f" + "\x0e\x01h"
	if err != nil || string(b) != want {
		t.Errorf("%q, %v", b, err)
	}
}

func TestMetaRefusals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wire string
		want error
	}{
		"nothing":           {"", gossip.ErrMetaFormat},
		"format zero":       {"\x00\x01\x02b1", gossip.ErrMetaFormat},
		"a later format":    {"\x02\x01\x02b1", gossip.ErrMetaFormat},
		"json":              {`{"boot":"b1"}`, gossip.ErrMetaFormat},
		"no boot":           {"\x01", gossip.ErrMetaMalformed},
		"empty boot":        {"\x01\x01\x00", gossip.ErrMetaMalformed},
		"boot with an at":   {"\x01\x01\x03b@1", gossip.ErrMetaMalformed},
		"cut tag":           {"\x01\x01\x02b1\x02", gossip.ErrMetaMalformed},
		"cut value":         {"\x01\x01\x02b1\x02\x09ws", gossip.ErrMetaMalformed},
		"endless length":    {"\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", gossip.ErrMetaMalformed},
		"huge length":       {"\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", gossip.ErrMetaMalformed},
		"number of nothing": {"\x01\x01\x02b1\x06\x00", gossip.ErrMetaMalformed},
		"number and more":   {"\x01\x01\x02b1\x06\x02\x01\x01", gossip.ErrMetaMalformed},
		"state over 255":    {"\x01\x01\x02b1\x06\x02\xff\x7f", gossip.ErrMetaMalformed},
		"partitions > 2^32": {"\x01\x01\x02b1\x0b\x06\xff\xff\xff\xff\xff\x01", gossip.ErrMetaMalformed},
		"load is no number": {"\x01\x01\x02b1\x0d\x0a\x81\x80\x80\x80\x80\x80\x80\xfc\xff\x01", gossip.ErrMetaMalformed},
		"bad utf-8":         {"\x01\x01\x02b1\x02\x01\xff", gossip.ErrMetaMalformed},
		"too long":          {"\x01\x01\x02b1" + strings.Repeat("\xc8\x01x", 200), gossip.ErrMetaTooLong},
	} {
		if got, err := gossip.DecodeMeta([]byte(c.wire)); !errors.Is(err, c.want) || got != (gossip.Meta{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	long := fullMeta()
	long.Client = strings.Repeat("x", gossip.MetaLimit)
	if _, err := long.Encode(); !errors.Is(err, gossip.ErrMetaTooLong) {
		t.Errorf("encode of a long meta: %v", err)
	}
	if _, err := (gossip.Meta{Boot: "b", Client: "\xff"}).Encode(); !errors.Is(err, gossip.ErrMetaMalformed) {
		t.Errorf("encode of bad utf-8: %v", err)
	}
}

func FuzzDecodeMeta(f *testing.F) {
	full, err := fullMeta().Encode()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{full, full[:20], {1}, {1, 1, 1, 'b'}, append(bytes.Clone(full), 99, 0)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		m, err := gossip.DecodeMeta(wire)
		if err != nil {
			return
		}
		b, err := m.Encode()
		if err != nil {
			t.Fatalf("%+v was read and can't be written: %v", m, err)
		}
		if again, err := gossip.DecodeMeta(b); err != nil || again != m {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}
