package main

import (
	"testing"

	"backstop/internal/daemon"
)

// TestSyncTexts: what a pull would lose is told, though as many others come.
func TestSyncTexts(t *testing.T) {
	for want, l := range map[string]daemon.Loss{
		"example.com loses 10 of 20, and has 10 new ones": {Domain: "example.com", Before: 20, After: 20, Lost: 10},
		"example.com loses 18 of 21":                      {Domain: "example.com", Before: 21, After: 3, Lost: 18},
	} {
		if got := lossText(&l); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	held := []daemon.Loss{{Domain: "example.com", Before: 20, Lost: 20}}
	for want, r := range map[string]daemon.SyncResult{
		"held back, because too many would be lost; there is no copy, so every answer is 451 (0s)": {Held: held},
		"held back, because too many would be lost; the copy with 20 recipients stays (0s)":        {Before: 20, Entries: 20, Held: held},
		"nothing has changed, 20 recipients; 2 values are no address, and passed over (0s)":        {Before: 20, Entries: 20, Bad: 2},
	} {
		if got := syncText(&r); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
