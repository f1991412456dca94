package dkim

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestMonsters: whatever a megabyte of header holds, it is gone through once.
func TestMonsters(t *testing.T) {
	field := func(h, b string) string {
		return "DKIM-Signature: " + strings.Replace(usual, "h=from", "h=from"+h, 1) + "; bh=" + strings.Repeat("A", 43) + "=; b=" + b + "\r\n"
	}
	for name, tc := range map[string]struct {
		header  string
		results int
	}{
		"many names signed":      {strings.Repeat(field(strings.Repeat(":x", 50000), "AA=="), 8), 8},
		"many names, many there": {field(strings.Repeat(":x", 100000), "AA==") + strings.Repeat("x:\r\n", 100000), 1},
		"many empty":             {strings.Repeat("DKIM-Signature:\r\n", 50000), 8},
		"many":                   {strings.Repeat(field("", "AA=="), 5000), 8},
		"many authors":           {"From: " + strings.Repeat("a@b.c,", 100000) + "\r\n" + strings.Repeat(field("", "AA=="), 500), 8},
		"one endless author":     {"From: " + strings.Repeat("a@b.", 250000) + "\r\n" + strings.Repeat(field("", "AA=="), 500), 8},
		"many From":              {strings.Repeat("From: @\r\n", 50000) + strings.Repeat(field("", "AA=="), 500), 8},
		"long b":                 {field("", strings.Repeat("A", 1<<20)), 1},
		"many tags":              {"DKIM-Signature: " + strings.Repeat("a=b;", 1<<18) + "\r\n", 1},
		"no tags":                {"DKIM-Signature: " + strings.Repeat(";", 1<<20) + "\r\n", 1},
		"folded":                 {"DKIM-Signature: " + strings.Repeat("\r\n ", 1<<18) + "\r\n", 1},
	} {
		v := NewVerifier([]byte(tc.header))
		all := v.Verify(t.Context(), zone{}.lookup, noon)
		if len(all) != tc.results {
			t.Errorf("%s: %d results", name, len(all))
		}
		sane(t, all)
	}
}

// TestBounds: what is beyond them is not looked at, or is an error.
func TestBounds(t *testing.T) {
	list := usual + "; t=1795348800"
	naming := func(n int) string {
		return craft(t, edKey(1), strings.Replace(list, "h=from:to:subject", "h=from"+strings.Repeat(":x", n-1), 1), sampleHeader, sampleBody)
	}
	key := own(Key{"example.org", "s", edKey(1)})
	for n, want := range map[int]bool{maxNames: true, maxNames + 1: false} {
		got, ok := VerifyReturned([]byte(naming(n)+sampleHeader), key, tenDays, noon)
		if ok != want || !ok && !strings.Contains(got.Detail, "1000 fields") {
			t.Errorf("%d names: %+v", n, got)
		}
	}
	others := strings.Repeat("DKIM-Signature: x=\r\n", maxRead-1)
	good := naming(1)
	for more, want := range map[string]bool{"": true, "DKIM-Signature: x=\r\n": false} {
		_, ok := VerifyReturned([]byte(others+more+good+sampleHeader), key, tenDays, noon)
		if v := NewVerifier([]byte(others + more + good + sampleHeader)); ok != want || v.Signed() != want || v.Skipped() != maxRead-MaxSignatures+len(more)/20 {
			t.Errorf("behind %d others it is %v, %v, %d passed over", maxRead-1+len(more)/20, ok, v.Signed(), v.Skipped())
		}
	}
	for n, want := range map[int]bool{0: true, maxReturned: false} {
		above := strings.Repeat("X: y\r\n", n/6)
		if got, ok := VerifyReturned([]byte(above+good+sampleHeader+strings.Repeat("X: y\r\n", maxReturned)), key, tenDays, noon); ok != want {
			t.Errorf("behind %d octets: %+v", n, got)
		}
	}
}

// TestMemory: of 256 KB of header, whatever it holds, what is made in passing is a few times as much, and 10 times at most.
func TestMemory(t *testing.T) {
	const size = 256 << 10
	fill := func(unit string) string { return strings.Repeat(unit, size/len(unit)) }
	distinct := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()[:size]
	}
	dated := usual + "; t=1795348800"
	field := craft(t, edKey(1), dated, sampleHeader, sampleBody)
	naming := func(names string) string {
		return craft(t, edKey(1), strings.Replace(dated, "h=from", "h=from:"+names, 1), sampleHeader, sampleBody)
	}
	headers := map[string]string{
		"lines":               fill("a:\n"),
		"whole lines":         fill("a:\r\n"),
		"no fields":           fill("a\r\n"),
		"distinct":            distinct("%x:\r\n"),
		"From":                fill("From:a@b.c\r\n"),
		"folded":              "a:" + fill("\r\n ") + "\r\n",
		"empty signatures":    fill("DKIM-Signature:\r\n"),
		"malformed":           fill("DKIM-Signature:a\r\n"),
		"signatures":          fill(field),
		"names signed":        naming(strings.Repeat("a:", 900)+"a") + fill("a:\r\n"),
		"all names signed":    "DKIM-Signature:" + dated + ":" + distinct("%x:") + "x; bh=; b=AA==\r\n",
		"one field, signed":   strings.Repeat(naming("x"), MaxSignatures) + "x: " + fill("y") + "\r\n",
		"several, all signed": strings.Repeat(field, MaxSignatures) + fill("Subject:\r\n"),
	}
	key := own(Key{"example.org", "s", edKey(1)})
	for name, text := range headers {
		header := []byte(text + sampleHeader)
		for what, do := range map[string]func(){
			"verify":   func() { NewVerifier(header) },
			"returned": func() { VerifyReturned(header, key, tenDays, noon) },
			"long":     func() { VerifyReturned(bytes.Repeat(header, 4), key, tenDays, noon) },
			"sign":     func() { NewSigning(header, []Key{{"example.org", "s", edKey(1)}}, noon) },
		} {
			made := int64(allocated(do))
			if what == "long" {
				made -= 4 * int64(len(header))
			}
			if made > 10*size {
				t.Errorf("%s, %s: %d KB made", name, what, made>>10)
			}
		}
	}
}

// allocated is how many octets are made in passing.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
