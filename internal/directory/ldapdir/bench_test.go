package ldapdir

import (
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/mailtest/rig"
)

// BenchmarkLookup is one question to a slapd on this machine, over a connection that is there.
func BenchmarkLookup(b *testing.B) {
	d := rig.NewSlapd(b, rig.SlapdOptions{})
	d.AddUsers(1000, "example.com")
	s := asking(b, d, nil)
	for name, want := range map[string]evidence.Standing{"user7@example.com": evidence.Exists, "nobody@example.com": evidence.Missing} {
		b.Run(want.String(), func(b *testing.B) {
			addr := address(b, name)
			b.ReportAllocs()
			for b.Loop() {
				if a := s.Lookup(b.Context(), addr); a.Standing != want {
					b.Fatal(a.Detail)
				}
			}
		})
	}
}

// BenchmarkFull pulls ten thousand people.
func BenchmarkFull(b *testing.B) {
	const people = 10_000
	d := rig.NewSlapd(b, rig.SlapdOptions{})
	d.AddUsers(people, "example.com")
	s := asking(b, d, nil)
	for b.Loop() {
		var k kept
		k.mustPull(b, s)
		if len(k.known) != people {
			b.Fatal(len(k.known))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/people, "ns/entry")
}
