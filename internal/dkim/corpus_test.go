package dkim

import (
	"bytes"
	"crypto"
	"os"
	"path/filepath"
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/mailtest"
)

// TestCorpus goes through real mail, whose keys are not at hand: every signature must come to an end that says why, as a
// message's own and in whatever header it returns.
func TestCorpus(t *testing.T) {
	root := mailtest.Corpus(t, "")
	files, found := 0, map[evidence.Result]int{}
	details := map[string]int{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		whole := wholeLines(raw)
		head, body, _ := bytes.Cut(whole, []byte("\r\n\r\n"))
		all := check(string(head)+"\r\n", string(body), zone{}.lookup, noon, 4096)
		sane(t, all)
		for _, s := range all {
			found[s.Result]++
			if s.Result == evidence.PermError && s.Detail[:6] != "no key" {
				details[s.Detail]++
			}
		}
		for _, start := range positions(raw, fieldName) {
			got, ok := VerifyReturned(raw[start:], func(string, string) crypto.PublicKey { return edKey(1).Public() }, tenDays, noon)
			if ok || got.Result == evidence.Pass {
				t.Errorf("%s: passes with another key: %+v", path, got)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages: %v; malformed: %v", files, found, details)
}

// positions are the beginnings of lines that begin with a word, whatever the case.
func positions(raw []byte, word string) []int {
	var all []int
	for at := 0; at < len(raw); {
		end := bytes.IndexByte(raw[at:], '\n') + 1
		if len(raw)-at >= len(word) && bytes.EqualFold(raw[at:at+len(word)], []byte(word)) {
			all = append(all, at)
		}
		if end == 0 {
			break
		}
		at += end
	}
	return all
}
