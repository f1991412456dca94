package session

import (
	"strings"
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/seal"
	"backstop/internal/verdict"
)

// TestFieldsOfOurs: what only we may write is taken out where a stranger wrote it, and nothing else is touched.
func TestFieldsOfOurs(t *testing.T) {
	const (
		origin  = "Backstop-Origin: v=1; k=1; t=1; spf=pass; dkim=none;\r\n dmarc=pass; aligned=yes; h=0123456789abcdef0123456789abcdef\r\n"
		mark    = "BACKSTOP-Bounce : proven by=seal\r\nBackstop-Bounce\r\n : proven by=seal\r\n"
		results = "Authentication-Results: mx.example.org; spf=pass\r\n"
		theirs  = "Authentication-Results: mx.far.example; spf=pass\r\n"
		theSeal = "Backstop-Seal: v=1; k=1; t=1; h=0123456789abcdef0123456789abcdef\r\n"
		badSeal = "Backstop-Seal: v=1; <script>\r\n"
		rest    = "X-Backstop-Origin: kept\r\nFrom: bob@example.org\r\nSubject: x\r\n"
		body    = "\r\nBackstop-Origin: in the body\r\n"
	)
	text := origin + theirs + mark + theSeal + results + badSeal + rest + body
	w := newWorld(t)
	w.org.Sign = nil
	if v, _ := w.arrives(letter{"ann@far.example", []string{"bob@example.org"}, text}); v.Effect != verdict.Accept {
		t.Fatal(v.Reply)
	}
	want := theirs + "Backstop-Foreign-Seal: v=1; k=1; t=1; h=0123456789abcdef0123456789abcdef\r\n" + rest + body
	if got := string(w.one(w.near).Body); !strings.HasSuffix(got, want) || strings.Contains(strings.TrimSuffix(got, want), "proven") {
		t.Errorf("came in as\n%s", got)
	}
	text = strings.TrimPrefix(text, origin) // with it the message would not be one of ours
	if v, _ := w.leaves(letter{"bob@example.org", []string{"ann@far.example"}, text}); v.Effect != verdict.Accept {
		t.Fatal(v.Reply)
	}
	got := string(w.one(w.far).Body)
	if want := theirs + results + rest + body; !strings.HasSuffix(got, want) {
		t.Errorf("left as\n%s", got)
	}
	head, _, _ := strings.Cut(got, "\r\n\r\n")
	if f := seal.VerifySeal(w.cfg.Keys(), seal.Values([]byte(head), seal.SealName), addr(t, "bob@example.org"), w.now); f.Standing != seal.Valid {
		t.Errorf("its seal is %v:\n%s", f.Standing, got)
	}
}

// TestMarks: what is written into the header, by what the domain wants.
func TestMarks(t *testing.T) {
	for _, tc := range []struct {
		name  string
		wants evidence.Guards
		asked string
		has   []string
	}{
		{"nothing", evidence.Guards{}, "", nil},
		{"spf", evidence.Guards{SPF: evidence.CheckMark}, "spf", []string{"Authentication-Results: mx.example.org", "spf=temperror"}},
		{"both", evidence.Guards{SPF: evidence.CheckRefuse, DMARC: evidence.CheckRefuse}, "spf dkim dmarc", []string{"spf=temperror", "dmarc=temperror"}},
		{"dmarc, which wants SPF", evidence.Guards{DMARC: evidence.CheckMark}, "spf dkim dmarc", []string{"dmarc=temperror"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.org.Guards = tc.wants
			w.auth.spf, w.auth.dmarc = evidence.TempError, evidence.DMARC{Result: evidence.TempError, Domain: "far.example"}
			if v, _ := w.arrives(letter{"ann@far.example", []string{"bob@example.org"}, "From: ann@far.example\r\n\r\nHello.\r\n"}); v.Effect != verdict.Accept {
				t.Fatalf("%v by %v", v.Effect, v.Rule)
			}
			var asked []string
			for _, one := range w.auth.asked {
				word, _, _ := strings.Cut(one, " ")
				asked = append(asked, word)
			}
			if strings.Join(asked, " ") != tc.asked {
				t.Errorf("asked %v", asked)
			}
			got := string(w.one(w.near).Body)
			for _, want := range tc.has {
				if !strings.Contains(got, want) {
					t.Errorf("it lacks %s:\n%s", want, got)
				}
			}
			if len(tc.has) == 0 && strings.Contains(got, "Authentication-Results") {
				t.Errorf("%s", got)
			}
		})
	}
}

// TestLongHeader: a header that has no end is refused, and nobody behind hears of it.
func TestLongHeader(t *testing.T) {
	w := newWorld(t)
	text := strings.Repeat("X-Long: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", 20_000)
	v, _ := w.arrives(letter{"ann@far.example", []string{"bob@example.org"}, text + "\r\nHello.\r\n"})
	if v.Effect != verdict.Refuse || v.Rule != verdict.MessageSize || !strings.Contains(v.Reply.String(), "header") {
		t.Errorf("%v by %v: %q", v.Effect, v.Rule, v.Reply)
	}
	if len(w.near.Messages()) != 0 || held.Load() != 0 {
		t.Errorf("%d messages, %d octets held", len(w.near.Messages()), held.Load())
	}
	// One that is long, and has an end within the bound, comes through whole.
	text = text[:headSize*3/72*72] + "From: ann@far.example\r\n\r\nHello.\r\n"
	if v, _ := w.arrives(letter{"ann@far.example", []string{"bob@example.org"}, text}); v.Effect != verdict.Accept {
		t.Fatalf("%v by %v: %q", v.Effect, v.Rule, v.Reply)
	}
	if m := w.one(w.near); !strings.HasSuffix(string(m.Body), text) {
		t.Errorf("%d octets of %d", len(m.Body), len(text))
	}
}
