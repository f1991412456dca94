package access

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"backstop/internal/directory"
	"backstop/internal/directory/watch"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/mailtest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestValues(t *testing.T) {
	for _, tt := range []struct{ value, want string }{
		{"OK", "OK"},
		{"relay", "RELAY"},
		{"Reject", "REJECT"},
		{"DISCARD", "DISCARD, which is refused here"},
		{"SKIP", "SKIP"},
		{"550 User unknown", "550 5.1.1 User unknown"},
		{"550 5.1.6 Moved", "550 5.1.6 Moved"},
		{`"551 Not local"`, "551 5.1.1 Not local"},
		{"451 later", "451 4.1.1 later"},
		{"ERROR:550 User unknown", "550 5.1.1 User unknown"},
		{`ERROR:5.1.1:"550 User unknown"`, "550 5.1.1 User unknown"},
		{"error:5.1.6:550 Moved", "550 5.1.6 Moved"},
		{`ERROR:5.1.1:"550 5.1.6 Moved"`, "550 5.1.6 Moved"},
		{"ERROR:5.1.1:User unknown", "550 5.1.1 User unknown"},
		{"ERROR:4.2.1:come later", "450 4.2.1 come later"},
		{`ERROR:550 she said \"no\"`, `550 5.1.1 she said "no"`},
		{"ERROR:550 see http://example.com/", "550 5.1.1 see http://example.com/"},
		// Not understood:
		{"REJCET", "not understood"},
		{"RELAY # the boss", "not understood"},
		{"No such user", "not understood"},
		{"QUARANTINE:held", "queue"},
		{"ERROR:nouser No such user", "neither a code nor a status"},
		{"550", "no text"},
		{"ERROR:5.1.1:", "no text"},
		{"ERROR:", "neither a code"},
		{"ERROR:5.1.1:451 no", "disagree"},
		{"ERROR:4.1.1:550 no", "disagree"},
		{"550 4.1.1 no", "disagree"},
		{"250 fine", "no code"},
		{"421 bye", "no code"},
		{"ERROR:2.1.5:fine", "success"},
		{"550 caf\u00e9", "ASCII"},
		{"550 a\x07b", "control"},
	} {
		a, err := parseValue(tt.value, addressing)
		got := a.verb.String()
		switch {
		case err != nil:
			if got = err.Error(); strings.Contains(got, tt.want) {
				continue
			}
		case a.verb == Refuse:
			got = a.reply.String()
		}
		if got != tt.want {
			t.Errorf("%q: %s, want %s", tt.value, got, tt.want)
		}
	}
}

func TestBadLines(t *testing.T) {
	for _, tt := range []struct {
		kind Kind
		text string
		line int
		says string
	}{
		{Access, "To:ann@example.com RELAY\nTo:bob@example.com", 2, "no value"},
		{Access, "To:bob@example.com \t", 1, "no value"},
		{Access, "# c\n To:bob@example.com RELAY", 2, "white space"},
		{Access, "Tu:bob@example.com RELAY", 1, `tag "Tu:"`},
		{Access, "To: RELAY", 1, "key is missing"},
		{Access, "To:@example.com RELAY", 1, "never looked up"},
		{Access, ".example.com RELAY", 1, "lookupdotdomain"},
		{Access, "To:a..b@example.com RELAY", 1, "dot"},
		{Access, "To:exa_mple!.com RELAY", 1, "may not contain"},
		{Access, "Connect:192.0.2.1.5 RELAY\nConnect:999.1 REJECT\nConnect:a/24 OK", 3, "may not contain"},
		{Access, "From:ann@example.com RELAY\nFrom:a..b@example.com REJECT", 2, "dot"},
		{Access, "To:ann@example.com REJCET", 1, `"REJCET" is not understood`},
		{Access, strings.Repeat("x", 5000) + " RELAY", 1, "longer than"},
		{Virtusertable, "ann ann@example.com", 1, "never looked up"},
		{Virtusertable, "ann@ ann@example.com", 1, "never looked up"},
		{Virtusertable, "ann@example.com a, b", 1, "not one address"},
		{Virtusertable, "ann@example.com error:no such user", 1, "neither a code"},
		{Virtusertable, "a@example.com b@example.com\nb@example.com a@example.com", 0, "circle"},
		{Virtusertable, "@example.com %1@%2", 1, "may not contain"},
		{Postmap, "ann@example.com", 1, "no value"},
		{Postmap, "# c\n  ann@example.com x", 2, "continues none"},
		{Postmap, "ann@example.com x\n/^bob@/ x", 2, "pattern"},
		{Postmap, "\"ann x@example.com x", 1, "closing quote"},
		{Postmap, "a@b@example.com x", 1, "may not contain"},
	} {
		path := mailtest.WriteFile(t, t.TempDir(), "file", tt.text)
		_, err := Open(tt.kind, path, Options{NoEvents: true})
		var m *watch.Mistake
		if !errors.As(err, &m) {
			t.Errorf("%v %.40q: %v", tt.kind, tt.text, err)
			continue
		}
		if !strings.Contains(err.Error(), tt.says) || tt.line > 0 && !strings.Contains(err.Error(), fmt.Sprintf("%s:%d: ", path, tt.line)) {
			t.Errorf("%v %.40q: %v, want line %d and %q", tt.kind, tt.text, err, tt.line, tt.says)
		}
		if _, err := Check(tt.kind, path); err == nil {
			t.Errorf("%v %.40q: Check finds nothing", tt.kind, tt.text)
		}
	}
	many := mailtest.WriteFile(t, t.TempDir(), "file", strings.Repeat("To:bob@example.com REJCET\n", 100))
	if _, err := Check(Access, many); err == nil || strings.Count(err.Error(), "\n") != maxMistakes-1 {
		t.Errorf("a hundred bad lines: %v", err)
	}
}

func TestWarnings(t *testing.T) {
	for _, tt := range []struct {
		kind Kind
		text string
		want string // "line: words", joined by "; "
	}{
		{Access, siteAccess, "5: DISCARD would; 24: RELAY accepts everybody; 25: RELAY accepts everybody; 27: OK accepts everybody"},
		{Access, "To:ann@example.com RELAY\nto:ANN@example.com relay\nTo:ann@example.com REJECT", "3: earlier line"},
		{Access, "GreetPause:192.0.2 0\nGreetPause: 5000\nAuthInfo:example.com \"U:x\" \"P:secret\"\n", "1: lines with GreetPause: are; 3: AuthInfo:"},
		{Access, "From:<> REJECT\nFrom:192.0.2 REJECT\nConnect:a.example OK\nConnect:b.example OK\nexample.com ERROR:5.1.1:no\n" +
			"Connect:192.0.2 OK\nConnect:192.0.2 REJECT\nConnect:[IPv6:2001:db8] OK\n[ipv6:2001:db8] OK\nConnect:[ipv6:2001:DB8] REJECT",
			"1: null sender; 2: Connect:192.0.2; 3: xclient; 5: write To:example.com; 7: 192.0.2.0/24 stands; 10: 2001:db8::/32 stands"},
		{Access, "To:*@example.org OK\nTo:a*@example.org RELAY\nTo:*@ OK\nFrom:*@example.net REJECT\nTo:+*@example.org OK\nTo:ann+*@example.org OK\n*@example.org OK\n",
			"1: domain is written example.org; 2: a*@example.org matches nobody else; 3: *@ matches; 4: written example.net; 5: +*@example.org matches; 7: written example.org"},
		{Virtusertable, "*@example.org ann\nann+*@example.org ann\n", "1: domain is written @example.org"},
		{Virtusertable, siteVirtual, "17: catch-all; 18: catch-all"},
		{Virtusertable, "@example.com %1@example.org\nann@example.com ann\n", "1: catch-all"},
		{Postmap, siteMap, "6: value; 14: quoted as it is; 16: backscatter"},
	} {
		got, err := Check(tt.kind, mailtest.WriteFile(t, t.TempDir(), "file", tt.text))
		if err != nil {
			t.Errorf("%.30q: %v", tt.text, err)
			continue
		}
		want := strings.Split(tt.want, "; ")
		for i, w := range got {
			line, says, _ := strings.Cut(want[min(i, len(want)-1)], ": ")
			if len(got) != len(want) || fmt.Sprint(w.Line) != line || !strings.Contains(w.Message, says) || strings.Contains(w.Message, "secret") {
				t.Errorf("%.30q: warning %d is %v, want %q", tt.text, i, w, want)
			}
		}
		if len(got) == 0 {
			t.Errorf("%.30q: no warnings", tt.text)
		}
	}
}

// What the look-ups beside Sendmail do not show: names that are folded, aliases, and
// what the directory is told beside the standing.
func TestRulings(t *testing.T) {
	s := open(t, Access, "\ufeffTo:\"ann\"@ALIAS.example\tRELAY\r\n"+
		"To:m\u00fcnchen@b\u00fccher.example\tOK\r\n"+
		"To:bob@example.com\tERROR:5.1.6:550 Bob moved\n"+
		"To:eve@example.com\t450 4.2.0 Not now\n"+
		"To:dan@example.com\tDISCARD\n"+
		"To:open.example\tRELAY\n"+
		"To:example.com\tERROR:550 5.1.1 Nobody here\n", Options{NoEvents: true, Canonical: func(d string) string {
		if d == "alias.example" {
			return "example.com"
		}
		return d
	}})
	for _, tt := range []struct {
		addr  string
		want  directory.Ruling
		reply string
	}{
		{"Ann@example.com", directory.Ruling{Standing: evidence.Exists, Exact: true, Detail: "RELAY"}, ""},
		{"ann@alias.example", directory.Ruling{}, ""}, // the directory asks with the name
		{"M\u00dcNCHEN@xn--bcher-kva.example", directory.Ruling{Standing: evidence.Exists, Exact: true, Detail: "OK"}, ""},
		{"bob+x@example.com", directory.Ruling{Standing: evidence.Missing, Exact: true, Detail: "550 5.1.6 Bob moved"}, "550 5.1.6 Bob moved"},
		{"eve@example.com", directory.Ruling{Standing: evidence.Unavailable, Exact: true, Detail: "450 4.2.0 Not now"}, "450 4.2.0 Not now"},
		{"dan@example.com", directory.Ruling{Standing: evidence.Missing, Exact: true, Detail: "DISCARD, which is refused here"}, ""},
		{"x@sub.open.example", directory.Ruling{Standing: evidence.Exists, Blind: true, Detail: "RELAY"}, ""},
		{"x@example.com", directory.Ruling{Standing: evidence.Missing, Detail: "550 5.1.1 Nobody here"}, "550 5.1.1 Nobody here"},
		{"x@example.org", directory.Ruling{}, ""},
	} {
		a, err := mail.ParseAddress(tt.addr)
		if err != nil {
			t.Fatal(err)
		}
		got := s.Rule(a.Key())
		if got.Reply.String() != tt.reply {
			t.Errorf("%s: the reply is %q", tt.addr, got.Reply)
		}
		if got.Reply = (mail.Reply{}); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.addr, got, tt.want)
		}
		if answer := s.Lookup(t.Context(), a); answer.Standing != got.Standing || answer.Cacheable || s.Known(a.Key()) != got.Standing {
			t.Errorf("%s: Lookup says %+v", tt.addr, answer)
		}
	}
	if !strings.HasPrefix(s.Name(), "access:/") || s.State().Entries != 7 {
		t.Errorf("%s %+v", s.Name(), s.State())
	}
}

// Virtual users that lead to each other; what Sendmail says of them is held elsewhere.
func TestVirtualChains(t *testing.T) {
	s := open(t, Virtusertable, "a@example.com b@cat.example\n"+
		"@cat.example %1@example.org\n"+
		"b@example.org c@example.com\n"+
		"c@example.com error:nouser 550 Gone\n"+
		"d@example.com e@example.com\n"+
		"e@example.com elsewhere@example.net\n"+
		"@loop1.example %1@loop2.example\n"+
		"@loop2.example %1@loop1.example\n"+
		"@out.example %1@example.net\n", Options{NoEvents: true})
	for addr, want := range map[string]string{
		"a@example.com": "missing 550 5.1.1 Gone", "b@cat.example": "missing 550 5.1.1 Gone", "b@example.org": "missing 550 5.1.1 Gone",
		"d@example.com": "exists ", "e@example.com": "exists ", "x@cat.example": "exists  blind", "x@example.com": "not asked ",
		"x@loop1.example": "unavailable ", "x@out.example": "exists  blind",
	} {
		r := s.Rule(addr)
		got := r.Standing.String() + " " + r.Reply.String()
		if r.Blind {
			got += " blind"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// A changed file is taken over with its warnings; a bad one leaves the last good one.
func TestChanges(t *testing.T) {
	path := mailtest.WriteFile(t, t.TempDir(), "access", "To:ann@example.com RELAY\n")
	states := make(chan watch.State, 16)
	s, err := Open(Access, path, Options{Ticks: make(chan time.Time), Changed: func(s watch.State) { states <- s }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	change := func(text string, fits func(watch.State) bool) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for {
			select {
			case st := <-states:
				if fits(st) {
					return
				}
			case <-t.Context().Done():
				t.Fatal("not noticed")
			}
		}
	}
	change("To:ann@example.com REJECT\nTo:example.com RELAY\n", func(st watch.State) bool { return st.Err == nil && st.Entries == 2 })
	if s.Known("ann@example.com") != evidence.Missing || len(s.Warnings()) != 1 {
		t.Errorf("the new file is not in force: %v", s.Warnings())
	}
	change("To:ann@example.com REJCET\n", func(st watch.State) bool { return st.Err != nil && st.Entries == 2 })
	if s.Known("ann@example.com") != evidence.Missing || s.Known("x@example.com") != evidence.Exists {
		t.Error("a bad file took the good one out of force")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for st := range states {
		if errors.Is(st.Err, fs.ErrNotExist) {
			break
		}
	}
	if s.Known("ann@example.com") != evidence.Missing {
		t.Error("a file that vanished took itself out of force")
	}
}

// million is a file as gateways have it: a line a user, and one for the rest.
func million(tb testing.TB, n int) string {
	tb.Helper()
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "To:user.number%d@example.com\tRELAY\n", i)
	}
	b.WriteString("To:example.com\tERROR:5.1.1:\"550 User unknown\"\n")
	return mailtest.WriteFile(tb, tb.TempDir(), "access", b.String())
}

// No look-up allocates, and the memory is what the package's comment says.
func TestCost(t *testing.T) {
	const n = 50_000
	s, err := Open(Access, million(t, n), Options{NoEvents: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if allocs := testing.AllocsPerRun(100, func() {
		if s.Rule("user.number7+x@example.com").Standing != evidence.Exists || s.Rule("nobody@example.com").Standing != evidence.Missing {
			t.Error("wrong answer")
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if lines := n + 2; s.file.Get().keys.Size() != 18*(lines*5/4+1+256) { // a line more is reckoned with, should it have no end
		t.Errorf("%d users take %d octets", n, s.file.Get().keys.Size())
	}
}

func FuzzParse(f *testing.F) {
	f.Add(uint8(0), siteAccess)
	f.Add(uint8(1), siteVirtual)
	f.Add(uint8(2), siteMap)
	f.Fuzz(func(t *testing.T, k uint8, text string) {
		kind := Kind(k % uint8(kinds))
		lines, err := watch.CountLines(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		c, n, err := parser(kind, "file", same, slog.New(slog.DiscardHandler))(&watch.Text{Reader: strings.NewReader(text), Lines: lines})
		if err != nil {
			var m *watch.Mistake
			if !errors.As(err, &m) || m.Line < 1 || m.Line > lines || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' && r != '\n' }) {
				t.Fatalf("%q", err)
			}
			return
		}
		if n > lines {
			t.Fatalf("%d entries of %d lines", n, lines)
		}
		for _, key := range []string{"ann@example.com", "a+b@x.y", "@", "x@", ""} {
			for _, r := range []directory.Ruling{c.access(key), c.virtual(key), c.mapped(key)} {
				switch {
				case r.Reply.IsZero():
				case r.Reply.Permanent() != (r.Standing == evidence.Missing), r.Reply.Temporary() != (r.Standing == evidence.Unavailable):
					t.Fatalf("%+v", r)
				}
			}
		}
	})
}

func BenchmarkRefusalByAMillion(b *testing.B) {
	s, err := Open(Access, million(b, 1_000_000), Options{NoEvents: true})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	keys := make([]string, 1<<16)
	for i := range keys {
		keys[i] = fmt.Sprintf("nobody%d@example.com", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if s.Rule(keys[i&(len(keys)-1)]).Standing != evidence.Missing {
			b.Fatal("found")
		}
	}
	b.ReportMetric(float64(s.file.Get().keys.Size())/1e6, "B/entry")
}

func BenchmarkOpenAMillion(b *testing.B) {
	path := million(b, 1_000_000)
	for b.Loop() {
		if _, err := Check(Access, path); err != nil {
			b.Fatal(err)
		}
	}
}
