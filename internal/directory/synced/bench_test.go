package synced

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkFull pulls everybody, and finds one of them gone.
func BenchmarkFull(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, err := Open(Config{Name: "crowd", Puller: &crowd{n: n}, Ticks: make(chan time.Time), Folder: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			s.Start()
			for b.Loop() {
				if _, err := s.Sync(b.Context(), false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
