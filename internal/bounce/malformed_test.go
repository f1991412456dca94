package bounce

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// check is what holds for any octets.
func check(t testing.TB, raw []byte, null bool) Report {
	t.Helper()
	r := Recognise(raw, null)
	switch {
	case r.Kind > VirusNotice || r.Action > Expanded || r.Clue >= clues:
		t.Errorf("unknown words: %v %v %v", r.Kind, r.Action, r.Clue)
	case (r.Kind == Ordinary) != (r.Clue == NoClue):
		t.Errorf("%v by %v", r.Kind, r.Clue)
	case r.Kind == Ordinary && (!r.Returned.Empty() || r.Recipients != nil || r.About != nil || r.Cut):
		t.Errorf("ordinary mail that returned something: %+v", r)
	case len(r.Returned.Raw()) > MaxBytes || len(r.Recipients) > MaxRecipients:
		t.Errorf("out of bounds: %d octets, %d recipients", len(r.Returned.Raw()), len(r.Recipients))
	}
	if len(r.About) > MaxAbout {
		t.Errorf("%d messages that it is about", len(r.About))
	}
	for _, id := range r.About {
		if id == "" || len(id) > maxAbout || strings.ContainsAny(id, "\r\n") {
			t.Errorf("it is about %q", id)
		}
	}
	for line := range bytes.Lines(r.Returned.Raw()) {
		if blank(line) {
			t.Errorf("a blank line in the returned header: %q", r.Returned.Raw())
			break
		}
	}
	for _, rcpt := range r.Recipients {
		if len(rcpt.Final) > 400 || len(rcpt.Original) > 400 || len(rcpt.Status) > 9 || len(rcpt.Diagnostic) > 500 {
			t.Errorf("recipient out of bounds: %+v", rcpt)
		}
	}
	return r
}

func TestMonsters(t *testing.T) {
	head := "From: MAILER-DAEMON@example.org\r\nSubject: failure notice\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
	var nested strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&nested, "--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", i, i+1)
	}
	for _, c := range []struct {
		name, raw string
		cut       bool
	}{
		{"50 MB of line ends", head + strings.Repeat("\r\n", 25<<20), true},
		{"10,000 parts in each other", strings.Replace(head, "boundary=b", "boundary=b0", 1) + nested.String(), true},
		{"10,000 parts of one border", strings.Replace(head, "boundary=b", "boundary=b0", 1) + strings.Repeat("--b0\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n", 10_000), true},
		{"100,000 parts", head + strings.Repeat("--b\r\n\r\n", 100_000), true},
		{"borders only", head + strings.Repeat("--b\n", 200_000), true},
		{"a border that is empty", strings.Replace(head, "boundary=b", "boundary=\"\"", 1) + strings.Repeat("--\r\n", 200_000), false},
		{"one line", head + strings.Repeat("a", 2<<20), true},
		{"a header without end", head[:len(head)-2] + strings.Repeat("X-A: b\r\n", 200_000), true},
		{"one field without end", head[:len(head)-2] + "X-A: " + strings.Repeat("b\r\n\t", 400_000), true},
		{"a content type without end", "From: MAILER-DAEMON\r\nContent-Type: multipart/report" + strings.Repeat(";", 900_000) + "=\r\n\r\n", false},
		{"equals signs", "From: <>\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("=", 900_000), false},
		{"equals signs and blanks", "From: <>\r\nSubject: failure notice\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("=      ", 140_000), false},
		{"markers", "From: <>\r\nSubject: failure notice\r\n\r\n" + strings.Repeat("--- Below this line is a copy of the message.\r\nX-A: b\r\n", 18_000), false},
		{"recipients", "From: <>\r\nSubject: failure notice\r\n\r\n" + strings.Repeat("a@b.example: no\r\n", 50_000), false},
		{"groups of status", head + "--b\r\nContent-Type: message/delivery-status\r\n\r\n" + strings.Repeat("Status: 5.1.1\r\n\r\n", 50_000), false},
		{"failed recipients", "X-Failed-Recipients: " + strings.Repeat("a@b,", 250_000) + "\r\n\r\n", false},
		{"encoded words", "From: <>\r\nSubject: " + strings.Repeat("=?utf-8?q?", 100_000) + "\r\n\r\nx", false},
		{"indented lines", "From: <>\r\nSubject: failure notice\r\n\r\nOriginal message follows\r\n" + strings.Repeat(" From: x\r\n", 90_000), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := check(t, []byte(c.raw), true); r.Cut != c.cut && r.Kind != Ordinary {
				t.Errorf("cut: %v", r.Cut)
			}
		})
	}
}

// TestEmptyLines: passing over empty lines changes nothing of what is found.
func TestEmptyLines(t *testing.T) {
	many := strings.Repeat("\r\n", 1000) + strings.Repeat("\n", 1000)
	for _, c := range bounces {
		h, body, _ := strings.Cut(c.raw, "\r\n\r\n")
		if body == "" {
			continue
		}
		want := check(t, []byte(c.raw), c.null)
		for name, raw := range map[string]string{"before": h + "\r\n\r\n" + many + body, "behind": c.raw + many} {
			got := check(t, []byte(raw), c.null)
			if got.Kind != want.Kind || got.Clue != want.Clue || got.Action != want.Action || len(got.Recipients) != len(want.Recipients) || !bytes.Equal(got.Returned.Raw(), want.Returned.Raw()) {
				t.Errorf("%s, empty lines %s: %+v; without them %+v", c.name, name, got, want)
			}
		}
	}
}

// mutate spoils a message in one of the ways in which messages are spoilt.
func mutate(r *rand.Rand, raw, other []byte) []byte {
	m := bytes.Clone(raw)
	for range 1 + r.IntN(4) {
		if len(m) < 2 {
			return m
		}
		i := r.IntN(len(m))
		j := min(len(m), i+1+r.IntN(200))
		switch r.IntN(8) {
		case 0:
			m[i] = byte(r.IntN(256))
		case 1:
			m = append(m[:i:i], m[j:]...)
		case 2:
			m = append(m[:j:j], m[i:]...)
		case 3:
			m = m[:i]
		case 4:
			m = append(m[:i:i], other[r.IntN(len(other)):]...)
		case 5:
			m = bytes.ReplaceAll(m, []byte("\n"), []byte("\r\n"))
		case 6:
			m = bytes.ReplaceAll(m, []byte("\r\n"), []byte("\n"))
		case 7:
			m = append(m[:i:i], append([]byte("\r\n\r\n"), m[i:]...)...)
		}
	}
	return m
}

func TestMutated(t *testing.T) {
	var all [][]byte
	for _, folder := range []string{"bounces", "autoreplies", "feedback-reports", "ordinary"} {
		for _, s := range corpus(t, folder) {
			all = append(all, s.raw)
		}
	}
	r := rand.New(rand.NewPCG(4, 2026))
	for range 10_000 {
		m := mutate(r, all[r.IntN(len(all))], all[r.IntN(len(all))])
		check(t, m, r.IntN(2) == 0)
		if t.Failed() {
			t.Fatalf("%q", m)
		}
	}
}

func FuzzRecognise(f *testing.F) {
	for _, c := range bounces {
		f.Add([]byte(c.raw), c.null)
	}
	f.Add([]byte(with(mailman("news-owner@example.com", "alice@example.com", "A letter"), "No.")), false)
	f.Add([]byte(ordinary4K()), false)
	f.Add([]byte("From: a\nAuto-Submitted: auto-replied\nContent-Type: multipart/mixed; boundary*0=a; boundary*1=b\n\n--ab\n\n--ab--"), true)
	f.Fuzz(func(t *testing.T, raw []byte, null bool) { check(t, raw, null) })
}
