package daemon_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"backstop/internal/daemon"
	"backstop/internal/mail"
	"backstop/internal/mailtest"
)

// recipients gathers what the daemon names, sorted, each once.
func recipients(t *testing.T, g *gateway, q daemon.RecipientsQuery) ([]string, error) {
	t.Helper()
	var keys []string
	err := g.Recipients(t.Context(), q, func(a mail.Address) error {
		keys = append(keys, a.Key())
		return nil
	})
	slices.Sort(keys)
	return slices.Compact(keys), err
}

// TestRecipientsOfADatabase pulls a database whether it is live or copied: a query that
// lists gives all, one that asks for one address has no list.
func TestRecipientsOfADatabase(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	p := newPeople(t, "Alice@example.com", "bob@alias.example", "x@elsewhere.example", "no address")
	domain := `aliases = ["alias.example"]
recipients = ["people"]`
	g := start(t, p.copied("")+relayTo("smtp://"+m.Addr(), "", domain))
	got, err := recipients(t, g, daemon.RecipientsQuery{})
	if want := []string{"alice@example.com", "bob@example.com"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	p.add("carl@example.com")
	if got, err = recipients(t, g, daemon.RecipientsQuery{Domains: []string{"alias.example"}, Source: "people"}); err != nil || !slices.Contains(got, "carl@example.com") {
		t.Errorf("the database as it is now: %q, %v", got, err)
	}
	g = start(t, p.live("")+relayTo("smtp://"+m.Addr(), "", domain))
	if got, err = recipients(t, g, daemon.RecipientsQuery{}); err == nil || !strings.Contains(err.Error(), "the recipients of example.com at people cannot be listed") {
		t.Errorf("a query for one address: %q, %v", got, err)
	}
	p.do("DROP TABLE people")
	g = start(t, p.copied("")+relayTo("smtp://"+m.Addr(), "", domain))
	if got, err = recipients(t, g, daemon.RecipientsQuery{}); err == nil || !strings.HasPrefix(err.Error(), "people: ") {
		t.Errorf("a database that cannot be asked: %q, %v", got, err)
	}
}

// TestRecipientsWithoutDomain: a value without a domain is nobody, at RCPT and in an export.
func TestRecipientsWithoutDomain(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	p := newPeople(t, "alice@example.com", "bob")
	g := start(t, p.copied("")+relayTo("smtp://"+m.Addr(), "", `recipients = ["people"]`)+
		"[[domain]]\nname = \"example.net\"\nrelay = \"smtp://"+m.Addr()+"\"\nrecipients = [\"people\"]\n")
	if _, err := g.Sync(t.Context(), nil, false); err != nil {
		t.Fatal(err)
	}
	k := open(t, g.addr)
	rcpt(t, k, "alice@example.com", "250")
	rcpt(t, k, "bob@example.com", missing) // a wrong column is more likely than a user of every domain
	if got, err := recipients(t, g, daemon.RecipientsQuery{}); err != nil || !slices.Equal(got, []string{"alice@example.com"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestRecipientsOfSeveral: whom the first directory does not have is one of the second, where the first one's no
// asks it, and nobody where that no is the last word.
func TestRecipientsOfSeveral(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	first, second := newPeople(t, "alice@example.com"), newPeople(t, "bob@example.com")
	for when, want := range map[string][]string{"next": {"alice@example.com", "bob@example.com"}, "refuse": {"alice@example.com"}} {
		g := start(t, first.copied("when_missing = \""+when+"\"")+strings.Replace(second.copied(""), "source.people", "source.others", 1)+
			relayTo("smtp://"+m.Addr(), "", `recipients = ["people", "others"]`))
		if _, err := g.Sync(t.Context(), nil, false); err != nil {
			t.Fatal(err)
		}
		rcpt(t, open(t, g.addr), "bob@example.com", map[string]string{"next": "250", "refuse": missing}[when])
		if got, err := recipients(t, g, daemon.RecipientsQuery{}); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", when, got, err, want)
		}
	}
}

// TestRecipientsOfSendmail: whom the files defer, and their patterns, are as much there as at RCPT.
func TestRecipientsOfSendmail(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	dir := t.TempDir()
	file := mailtest.WriteFile(t, dir, "access", "To:dora@example.com 450 On holiday\nTo:sales+*@example.com RELAY\nTo:all+*@ OK\nTo:eve@example.com REJECT\nTo:old+*@example.com REJECT\n")
	virt := mailtest.WriteFile(t, dir, "virt", "busy@example.net error:tempfail 450 Later\nmoved@example.net busy@example.net\nq++@example.net dora\ngone+*@example.net gone@example.net\ngone@example.net error:nouser 550 Gone\n")
	g := start(t, relayTo("smtp://"+m.Addr(), "", `recipients = ["access:`+file+`"]`)+
		"[[domain]]\nname = \"example.net\"\nrelay = \"smtp://"+m.Addr()+"\"\nrecipients = [\"virtusertable:"+virt+"\"]\n")
	k := open(t, g.addr)
	rcpt(t, k, "sales+x@example.com", "250")
	rcpt(t, k, "dora@example.com", "450")
	var patterns []string
	got, err := recipients(t, g, daemon.RecipientsQuery{Patterns: func(a mail.Address) error {
		patterns = append(patterns, a.Key())
		return nil
	}})
	if want := []string{"busy@example.net", "dora@example.com", "moved@example.net"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	slices.Sort(patterns)
	if want := []string{"all+*@example.com", "q++@example.net", "sales+*@example.com"}; !slices.Equal(patterns, want) {
		t.Errorf("patterns %q, want %q", patterns, want)
	}
	enough := errors.New("enough")
	if _, err := recipients(t, g, daemon.RecipientsQuery{Patterns: func(mail.Address) error { return enough }}); !errors.Is(err, enough) {
		t.Error(err)
	}
}

// TestRecipientsRemembered names whom a server said to exist, and nobody else.
func TestRecipientsRemembered(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice", "bob"}})
	g := start(t, relayTo("smtp://"+m.Addr(), "", ""))
	k := open(t, g.addr)
	rcpt(t, k, "alice@example.com", "250")
	rcpt(t, k, "nobody@example.com", missing)
	if _, err := recipients(t, g, daemon.RecipientsQuery{}); err == nil {
		t.Error("a server that is only asked about single recipients was listed")
	} else {
		var told interface{ Hint() string }
		if !errors.As(err, &told) || !strings.Contains(told.Hint(), "--remembered") {
			t.Errorf("%v: no advice", err)
		}
	}
	alice, err := mail.ParseAddress("alice@example.com")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "alice is remembered, once the server has shown that it can say no", func() bool {
		if _, err := g.Lookup(t.Context(), alice, daemon.LookupOptions{}); err != nil {
			t.Fatal(err)
		}
		got, err := recipients(t, g, daemon.RecipientsQuery{Remembered: true})
		return err == nil && slices.Equal(got, []string{"alice@example.com"})
	})
}

// TestRecipientsRememberedAsLongAsUsed: whom a source's own max_stale still lets in is exported, and nobody else.
func TestRecipientsRememberedAsLongAsUsed(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	p := newPeople(t, "alice@example.com")
	const day = 24 * time.Hour
	for _, tt := range []struct {
		stale string
		after time.Duration
		want  []string
	}{
		{"30d", 10 * day, []string{"alice@example.com"}},
		{"2d", 3 * day, nil},
	} {
		c := newClock()
		g := startAt(t, p.live("max_stale = \""+tt.stale+"\"")+relayTo("smtp://"+m.Addr(), "", `recipients = ["people"]`), c.Now)
		rcpt(t, open(t, g.addr), "alice@example.com", "250")
		c.forward(tt.after)
		if got, err := recipients(t, g, daemon.RecipientsQuery{Remembered: true}); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%v after it was said, with max_stale = %s: %q, %v, want %q", tt.after, tt.stale, got, err, tt.want)
		}
		other := strings.Replace(p.live("max_stale = \"30d\""), "email =", "email <>", 1)
		if err := g.Reload(parse(t, other+relayTo("smtp://"+m.Addr(), "", `recipients = ["people"]`))); err != nil {
			t.Fatal(err)
		}
		if got, err := recipients(t, g, daemon.RecipientsQuery{Remembered: true}); err != nil || got != nil {
			t.Errorf("what another query found is exported: %q, %v", got, err)
		}
	}
}

// TestRecipientsEnd ends with the caller's error, and with the caller.
func TestRecipientsEnd(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	list := mailtest.WriteFile(t, t.TempDir(), "list", "alice\nbob@example.com\n")
	g := start(t, relayTo("smtp://"+m.Addr(), "", `recipients = ["list:`+list+`"]`))
	enough, n := errors.New("enough"), 0
	err := g.Recipients(t.Context(), daemon.RecipientsQuery{}, func(mail.Address) error { n++; return enough })
	if !errors.Is(err, enough) || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
}

// TestStat shows what is remembered and what is listed, by domain.
func TestStat(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	dir := t.TempDir()
	list := mailtest.WriteFile(t, dir, "list", "carl\nbob@alias.example\ndora@example.com\nx@elsewhere.example\n")
	access := mailtest.WriteFile(t, dir, "access", "To:eve@example.com RELAY\nFrom:x.example REJECT\n")
	p := newPeople(t, "fay@example.com", "x@elsewhere.example")
	g := start(t, p.copied("")+relayTo("smtp://"+m.Addr(), "", `aliases = ["alias.example"]
recipients = ["access:`+access+`", "people", "list:`+list+`", "callahead"]`))
	if _, err := g.Sync(t.Context(), nil, false); err != nil {
		t.Fatal(err)
	}
	k := open(t, g.addr)
	rcpt(t, k, "carl@example.com", "550") // listed, and the downstream has not got him
	stats := g.Stat()
	if len(stats) != 1 || stats[0].Domain != "example.com" || len(stats[0].Listed) != 3 {
		t.Fatalf("%+v", stats)
	}
	for i, want := range []daemon.ListedStat{{Source: "access:" + access, Entries: 2, Whole: true}, {Source: "people", Entries: 1}, {Source: "list:" + list, Entries: 3}} {
		got := stats[0].Listed[i]
		if got.Source != want.Source || got.Entries != want.Entries || got.Whole != want.Whole {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}
