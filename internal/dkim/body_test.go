package dkim

import (
	"bytes"
	"crypto/sha256"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var (
	blanks   = regexp.MustCompile(`[ \t]+`)
	blankEnd = regexp.MustCompile(`[ \t]+(\r\n|$)`)
	emptyEnd = regexp.MustCompile(`(\r\n)+$`)
)

// canonical is what RFC 6376, 3.4.3 and 3.4.4 say, a sentence a line.
func canonical(body string, relaxed bool) string {
	if relaxed {
		body = blankEnd.ReplaceAllString(body, "$1")
		body = blanks.ReplaceAllString(body, " ")
	}
	body = emptyEnd.ReplaceAllString(body, "")
	if body != "" || !relaxed {
		body += "\r\n"
	}
	return body
}

// bodies draws what stands at the edges of lines more often than letters do.
func bodies() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.OneOf(
			rapid.SampledFrom([]string{"\r\n", "\r\n", "\r", "\n", " ", "\t", "  ", "a", "bc", "a b", "é", "\x00", "\x1f", ".", strings.Repeat("\r\n", 700), strings.Repeat("x ", 900)}),
			rapid.StringMatching(`[ -~]{0,100}`),
		), 0, 30).Draw(t, "body"), "")
	})
}

// TestBody: whatever the body and the pieces, what is hashed is the canonical form, or its beginning.
func TestBody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := bodies().Draw(t, "body")
		for _, relaxed := range []bool{false, true} {
			want := canonical(body, relaxed)
			c := canonicaliser{relaxed: relaxed}
			limit := rapid.Int64Range(0, int64(len(want))+2).Draw(t, "limit")
			all, part := c.sum(whole), c.sum(limit)
			for rest := body; rest != ""; {
				n := min(len(rest), rapid.SampledFrom([]int{1, 1, 2, 3, 10, 1000, 5000}).Draw(t, "n"))
				c.write([]byte(rest[:n]))
				rest = rest[n:]
			}
			c.end()
			if all.sum != sha256.Sum256([]byte(want)) || all.total != int64(len(want)) {
				t.Fatalf("%q, relaxed %v: not hashed as %q", body, relaxed, want)
			}
			if part.sum != sha256.Sum256([]byte(want[:min(limit, int64(len(want)))])) || part.total != all.total {
				t.Fatalf("%q, relaxed %v: another hash of the first %d octets of %q", body, relaxed, limit, want)
			}
		}
	})
}

func TestCanonicalField(t *testing.T) {
	for in, want := range map[string]string{
		"A: X\r\n":                         "a:X\r\n",
		"B : Y\t\r\n\tZ  \r\n":             "b:Y Z\r\n",
		"SubJect:\r\n \r\n x \r\n\r\n":     "subject:x\r\n",
		"x:":                               "x:\r\n",
		"x:\t \r\n":                        "x:\r\n",
		"x: a\rb\nc\r\n":                   "x:a\rb\nc\r\n",
		"X-Long:" + "\r\n  a\r\n\t\tb\r\n": "x-long:a b\r\n",
	} {
		if got := string(appendField(nil, []byte(in), true)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if got := string(appendField(nil, []byte(in), false)); got != strings.TrimSuffix(in, "\r\n")+"\r\n" {
			t.Errorf("simple %q: %q", in, got)
		}
	}
}

// TestFlood: a body of line ends, or of white space, is neither kept nor gone through twice.
func TestFlood(t *testing.T) {
	z := zoneOf(t, Key{"example.org", "s", edKey(1)})
	for _, list := range []string{usual, strings.Replace(usual, "relaxed/relaxed", "simple/simple", 1)} {
		field := craft(t, edKey(1), list, sampleHeader, "")
		for name, unit := range map[string]string{"line ends": "\r\n", "blanks": " \t", "carriage returns": "\r\r", "both": " \r\n"} {
			piece := bytes.Repeat([]byte(unit), 8192)
			v := NewVerifier([]byte(field + sampleHeader))
			kept := testing.AllocsPerRun(64, func() { v.Write(piece) })
			got := v.Verify(t.Context(), z.lookup, noon)
			empty := unit == "\r\n" || strings.Contains(list, "/relaxed") && unit != "\r\r"
			if (got[0].Detail == "") != empty {
				t.Errorf("%s: %+v", name, got)
			}
			if kept > 1 { // the first piece makes the room for what is on its way
				t.Errorf("%s: %v allocations a piece", name, kept)
			}
		}
	}
}
