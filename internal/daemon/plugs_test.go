package daemon_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"backstop/internal/daemon"
	"backstop/internal/mailtest"

	_ "modernc.org/sqlite"
)

// people is a database of recipients.
type people struct {
	t    *testing.T
	db   *sql.DB
	path string
}

func newPeople(t *testing.T, addresses ...string) *people {
	t.Helper()
	p := &people{t: t, path: filepath.Join(t.TempDir(), "people.db")}
	var err error
	if p.db, err = sql.Open("sqlite", p.path+"?_pragma=busy_timeout(5000)"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.db.Close() })
	p.do("CREATE TABLE people (email TEXT PRIMARY KEY)")
	for _, a := range addresses {
		p.add(a)
	}
	return p
}

func (p *people) do(statement string, args ...any) {
	p.t.Helper()
	if _, err := p.db.Exec(statement, args...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *people) add(address string) {
	p.t.Helper()
	p.do("INSERT INTO people VALUES (?)", address)
}

func (p *people) drop(address string) {
	p.t.Helper()
	p.do("DELETE FROM people WHERE email = ?", address)
}

// live and copied are the database as a source.
func (p *people) live(more string) string {
	return fmt.Sprintf("[source.people]\ntype = \"sql\"\nurl = \"sqlite://%s\"\nquery = \"SELECT 1 FROM people WHERE email = $1\"\n%s\n", p.path, more)
}

func (p *people) copied(more string) string {
	return fmt.Sprintf("[source.people]\ntype = \"sql\"\nurl = \"sqlite://%s\"\nquery = \"SELECT email FROM people\"\nmode = \"sync\"\nevery = \"1h\"\n%s\n", p.path, more)
}

// source is how a source is shown, in status and in words of what is wrong.
func source(t *testing.T, g *gateway, name string) (daemon.PeerStatus, string) {
	t.Helper()
	st := g.Status()
	for _, s := range st.Sources {
		if s.Name == name {
			return s, strings.Join(st.Wrong, "; ")
		}
	}
	t.Fatalf("no source %s in %+v", name, st.Sources)
	return daemon.PeerStatus{}, ""
}

// TestLiveSource: a change in the database shows at once; while it is away what was known
// holds, and status, metrics and one line of the log tell of it, once each change.
func TestLiveSource(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	p := newPeople(t, "alice@example.com")
	g := start(t, "[panel]\nlisten = \"127.0.0.1:0\"\n"+p.live("")+relayTo("smtp://"+m.Addr(), "", `recipients = ["people"]`))
	k := open(t, g.addr)
	if s, _ := source(t, g, "people"); s.State != "unused" {
		t.Errorf("at first: %+v", s)
	}
	rcpt(t, k, "alice@example.com", "250")
	rcpt(t, k, "bob@example.com", missing)
	p.add("bob@example.com")
	rcpt(t, k, "bob@example.com", "250")
	p.drop("bob@example.com")
	rcpt(t, k, "bob@example.com", missing)
	if s, wrong := source(t, g, "people"); s.State != "up" || wrong != "" {
		t.Errorf("when all is well: %+v, wrong: %s", s, wrong)
	}
	if err := os.Rename(p.path, p.path+".away"); err != nil {
		t.Fatal(err)
	}
	rcpt(t, k, "alice@example.com", "250") // as far as anybody knows
	rcpt(t, k, "bob@example.com", "451 4.1.1")
	rcpt(t, k, "eve@example.com", "451 4.1.1")
	if s, wrong := source(t, g, "people"); s.State != "down" || !strings.Contains(wrong, "people") {
		t.Errorf("when it is away: %+v, wrong: %s", s, wrong)
	}
	if page := metricsOf(t, g); !strings.Contains(page, `backstop_source_up{source="people"} 0`) {
		t.Error("the metric does not say that the source is down")
	}
	if err := os.Rename(p.path+".away", p.path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the source is asked again", func() bool {
		k := open(t, g.addr) // too many commands would be abuse
		defer k.Close()
		say(t, k, "MAIL FROM:<ann@sender.example>", "250")
		if err := k.Send("RCPT TO:<bob@example.com>\r\n"); err != nil {
			t.Fatal(err)
		}
		r, err := k.Reply()
		return err == nil && strings.HasPrefix(r.String(), missing)
	})
	if s, wrong := source(t, g, "people"); s.State != "up" || wrong != "" {
		t.Errorf("when it is back: %+v, wrong: %s", s, wrong)
	}
	for what, line := range map[string]string{"away": "a recipient source cannot be asked", "back": "a recipient source can be asked again"} {
		g.logged(t, line)
		if n := strings.Count(g.log.String(), line); n != 1 {
			t.Errorf("%d lines say that it is %s", n, what)
		}
	}
}

// TestCopiedSource: the copy answers, also without the database and after a restart; too large
// a loss is held back until it is confirmed.
func TestCopiedSource(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	p := newPeople(t, "alice@example.com", "bob@other.example")
	for i := range 18 {
		p.add(fmt.Sprintf("user%d@example.com", i))
	}
	state := t.TempDir()
	text := "state = \"" + state + "\"\n[panel]\nlisten = \"127.0.0.1:0\"\n" + p.copied("") +
		relayTo("smtp://"+m.Addr(), "", "recipients = [\"people\"]\naliases = [\"other.example\"]")
	g := start(t, text+"[[domain]]\nname = \"exmaple.org\"\nrelay = \"smtp://"+m.Addr()+"\"\nrecipients = [\"people\"]\n")
	pulled(t, g, daemon.SyncResult{Entries: 20})
	if _, wrong := source(t, g, "people"); !strings.Contains(wrong, "everybody at exmaple.org is refused: nobody there is in people") {
		t.Errorf("a slip in a domain is not told: %s", wrong)
	} // joins the first one, or finds nothing new
	k := open(t, g.addr)
	rcpt(t, k, "alice@example.com", "250")
	rcpt(t, k, "bob@example.com", "250")
	rcpt(t, k, "bob@other.example", "250")
	rcpt(t, k, "carl@example.com", missing)
	p.add("carl@example.com")
	rcpt(t, k, "carl@example.com", missing) // until the next pull
	pulled(t, g, daemon.SyncResult{Before: 20, Entries: 21, Changed: true, Full: true})
	rcpt(t, k, "carl@example.com", "250")

	p.do("DELETE FROM people WHERE email LIKE 'user%'")
	r := pulled(t, g, daemon.SyncResult{Before: 21, Entries: 21, Full: true, Held: []daemon.Loss{{Domain: "example.com", Before: 21, After: 3, Lost: 18}}})
	if r.Changed {
		t.Error("what is held back was taken over")
	}
	rcpt(t, k, "user1@example.com", "250")
	if s, wrong := source(t, g, "people"); s.State != "held" || !strings.Contains(wrong, "example.com loses 18 of 21 recipients") {
		t.Errorf("when it is held: %+v, wrong: %s", s, wrong)
	}
	if page := metricsOf(t, g); !strings.Contains(page, `backstop_source_held{source="people"} 1`) || !strings.Contains(page, `backstop_source_entries{source="people"} 21`) {
		t.Error("the metrics do not say that a pull is held")
	}
	rs, err := g.Sync(t.Context(), []string{"people"}, true)
	if err != nil || len(rs) != 1 || rs[0].Entries != 3 || !rs[0].Changed {
		t.Fatalf("%+v, %v", rs, err)
	}
	rcpt(t, k, "user1@example.com", missing)

	if err := os.Remove(p.path); err != nil {
		t.Fatal(err)
	}
	if r := pulledNow(t, g); r.Error == "" {
		t.Errorf("a pull without a database: %+v", r)
	}
	rcpt(t, k, "alice@example.com", "250")
	rcpt(t, k, "user1@example.com", missing)
	if s, wrong := source(t, g, "people"); s.State != "down" || !strings.Contains(s.Detail, "entries: 3") || wrong == "" {
		t.Errorf("when it is away: %+v, wrong: %s", s, wrong)
	}
	if err := g.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	g = start(t, text)
	k = open(t, g.addr)
	rcpt(t, k, "alice@example.com", "250")
	rcpt(t, k, "user1@example.com", missing)
	if err := g.Reload(parse(t, "state = \""+state+"\"\n"+relayTo("smtp://"+m.Addr(), "", `recipients = ["anybody"]`))); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(state, "sources", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// metricsOf is the page of metrics.
func metricsOf(t *testing.T, g *gateway) string {
	t.Helper()
	_, page := get(t, "tcp", g.Addrs()["panel"][0].String(), "/metrics")
	return page
}

// pulled has all sources refreshed, and compares how that went.
func pulled(t *testing.T, g *gateway, want daemon.SyncResult) daemon.SyncResult {
	t.Helper()
	r := pulledNow(t, g)
	if want.Before == 0 { // nobody knows whether the first pull was joined
		r.Before, r.Changed, r.Full = 0, false, false
	}
	r.Seconds, want.Source = 0, "people"
	if fmt.Sprintf("%+v", r) != fmt.Sprintf("%+v", want) {
		t.Fatalf("the pull was %+v, want %+v", r, want)
	}
	return r
}

func pulledNow(t *testing.T, g *gateway) daemon.SyncResult {
	t.Helper()
	rs, err := g.Sync(t.Context(), nil, false)
	if err != nil || len(rs) != 1 {
		t.Fatalf("%+v, %v", rs, err)
	}
	return rs[0]
}

// TestSyncNames: a name that means nothing to refresh says why.
func TestSyncNames(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	p := newPeople(t)
	g := start(t, p.live("")+relayTo("smtp://"+m.Addr(), "", `recipients = ["people"]`))
	for name, want := range map[string]string{"people": "source people is asked each time", "nobody": `there is no source "nobody"`} {
		if _, err := g.Sync(t.Context(), []string{name}, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHTTPSource: the statuses that mean something, and all others.
func TestHTTPSource(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	var asked atomic.Int64
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch who := r.FormValue("address"); {
		case r.Header.Get("Authorization") != "Bearer s3cret":
			w.WriteHeader(http.StatusUnauthorized)
		case who == "alice+x@example.com", who == "bob@example.com":
		case who == "odd@example.com":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer hook.Close()
	token := mailtest.WriteFile(t, t.TempDir(), "token", "s3cret\n")
	text := func(more string) string {
		return "[source.hook]\ntype = \"http\"\nurl = \"" + hook.URL + "/find\"\n" + more + "\n" + relayTo("smtp://"+m.Addr(), "", `recipients = ["hook"]`)
	}
	g := start(t, text("token_file = \""+token+"\"\nexists_for = \"1h\""))
	k := open(t, g.addr)
	rcpt(t, k, "alice+x@example.com", "250")
	rcpt(t, k, "ghost@example.com", missing)
	before := asked.Load()
	rcpt(t, k, "alice+x@example.com", "250")
	if asked.Load() != before {
		t.Error("what is believed for an hour was asked for again")
	}
	rcpt(t, k, "odd@example.com", "451 4.1.1")
	if err := g.Reload(parse(t, text(""))); err != nil {
		t.Fatal(err)
	}
	rcpt(t, open(t, g.addr), "bob@example.com", "451 4.1.1") // without the token
}

// TestReloadKeepsPlugs: a session that began before a reload goes on asking the source it began
// with; what the source said to another question is not believed after the reload.
func TestReloadKeepsPlugs(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	p := newPeople(t, "alice@example.com", "gone@example.com")
	text := func(more string) string {
		return p.live(more) + relayTo("smtp://"+m.Addr(), "", `recipients = ["people"]`)
	}
	g := start(t, text("missing_for = \"1h\""))
	k := open(t, g.addr)
	rcpt(t, k, "bob@example.com", missing)
	p.add("bob@example.com")
	rcpt(t, k, "bob@example.com", missing) // as is believed for an hour
	mended := strings.Replace(text("missing_for = \"1h\""), "email = $1", "email = $1 AND email != 'gone@example.com'", 1)
	if err := g.Reload(parse(t, mended)); err != nil {
		t.Fatal(err)
	}
	rcpt(t, k, "alice@example.com", "250")
	rcpt(t, k, "gone@example.com", "250")
	fresh := open(t, g.addr)
	rcpt(t, fresh, "bob@example.com", "250")
	rcpt(t, fresh, "gone@example.com", missing)
}

// TestPlugsWarn: who can be overheard on the way to a source is told so when it is taken into use.
func TestPlugsWarn(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	text := func(source string) string { return source + relayTo("smtp://"+m.Addr(), "", `recipients = ["away"]`) }
	g := start(t, text("[source.away]\ntype = \"http\"\nurl = \"http://panel.example.com/\"\n"))
	g.logged(t, `"level":"WARN"`, "panel.example.com is asked over http")
	if err := g.Reload(parse(t, text("[source.away]\ntype = \"ldap\"\nurl = \"ldap://dc1.example.com\"\nbase = \"dc=example,dc=com\"\n"))); err != nil {
		t.Fatal(err)
	}
	g.logged(t, `"level":"WARN"`, "dc1.example.com is asked over ldap://")
}

// TestEveryQuestionIsRefused: a source that is there and answers nothing is not shown as if all were well.
func TestEveryQuestionIsRefused(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	panel := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	t.Cleanup(panel.Close)
	g := start(t, "[source.panel]\ntype = \"http\"\nurl = \""+panel.URL+"\"\n"+relayTo("smtp://"+m.Addr(), "", `recipients = ["panel"]`))
	for i := range 10 {
		k := open(t, g.addr)
		rcpt(t, k, fmt.Sprintf("user%d@example.com", i), "451 4.1.1")
		k.Close()
	}
	if s, _ := source(t, g, "panel"); !strings.Contains(s.Detail, "every question is refused: the server says 500") {
		t.Errorf("%+v", s)
	}
	g.logged(t, `"level":"WARN"`, "finds something wrong with every address", `"look_at":"the URL"`)
}

// TestSlipWithoutStateFolder: a slip in the query of a source whose copy is in memory alone is held against that
// copy, and a session from before says missing of nobody any more.
func TestSlipWithoutStateFolder(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	p := newPeople(t, "alice@example.com")
	for i := range 19 {
		p.add(fmt.Sprintf("user%d@example.com", i))
	}
	text := p.copied("") + relayTo("smtp://"+m.Addr(), "", `recipients = ["people"]`)
	g := start(t, text)
	pulled(t, g, daemon.SyncResult{Entries: 20})
	before := open(t, g.addr)
	rcpt(t, before, "user3@example.com", "250")
	rcpt(t, before, "ghost@example.com", missing)
	slip := strings.Replace(text, "SELECT email FROM people", "SELECT email FROM people WHERE email = 'alice@example.com'", 1)
	if err := g.Reload(parse(t, slip)); err != nil {
		t.Fatal(err)
	}
	if r := pulledNow(t, g); len(r.Held) == 0 {
		t.Errorf("taken over: %+v", r)
	}
	fresh := open(t, g.addr)
	rcpt(t, fresh, "user3@example.com", "451 4.1.1")
	rcpt(t, before, "user3@example.com", "250")
	rcpt(t, before, "ghost@example.com", "451 4.1.1")
}
