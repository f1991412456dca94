package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// TestImportReadsAsExim: a file's secret makes the tags that Exim makes with it, by each way in which Exim reads one.
func TestImportReadsAsExim(t *testing.T) {
	at := time.Now().UTC().Truncate(24 * time.Hour).Add(60 * time.Hour) // the key signs by then
	dir := mailtest.Dir(t)
	plain := mailtest.WriteFile(t, dir, "plain", "a secret, 22 octets:-)")
	ended := mailtest.WriteFile(t, dir, "ended", "a secret, 22 octets:-)\n")
	lookup := mailtest.WriteFile(t, dir, "lookup", "prvs: a secret, 22 octets:-)\n")
	prvs := func(secret string) string { return "${prvs{ann@example.com}{" + secret + "}{3}}" }
	exim := rig.EximExpand(t, at, prvs("${readfile{"+plain+"}}"), prvs("${lookup{prvs}lsearch{"+lookup+"}}"), prvs("${readfile{"+ended+"}{}}"), prvs("${readfile{"+ended+"}}"))
	for i, words := range [][]string{{plain}, {ended}, {ended}, {ended, "--raw"}} {
		state := t.TempDir()
		if code, _, stderr := run(t, append([]string{"keys", "import", "--state", state, "--id", "3", "--secret-file"}, words...)...); code != 0 || stderr != "" {
			t.Fatal(stderr)
		}
		_, ours, stderr := run(t, "batv", "sign", "--state", state, "--at", at.Format(time.RFC3339), "ann@example.com")
		if strings.TrimSpace(ours) != exim[i] {
			t.Errorf("%v: %s%s, and Exim makes %s", words, ours, stderr, exim[i])
		}
		if code, out, stderr := run(t, "batv", "verify", "--state", state, "--at", at.Format(time.RFC3339), exim[i]); code != 0 {
			t.Errorf("%v: %s%s", words, out, stderr)
		}
		if _, out, _ := run(t, "keys", "list", "--json", "--state", state); !strings.Contains(out, filepath.Join(state, "keys.json")) || strings.Contains(out, "secret") {
			t.Error(out)
		}
	}
}
