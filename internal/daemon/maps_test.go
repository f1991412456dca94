package daemon_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"backstop/internal/config"
	"backstop/internal/daemon"
	"backstop/internal/mailtest"
)

// TestMapFiles runs a gateway on files as Sendmail and Postfix have them: their codes and
// words are the replies, and a changed file is in force without a reload.
func TestMapFiles(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice", "bob", "carl"}})
	dir := t.TempDir()
	access := mailtest.WriteFile(t, dir, "access", "To:alice@example.com\tRELAY\n"+
		"To:bob@example.com\tERROR:4.2.1:\"450 Bob is on holiday\"\n"+
		"To:carl@example.com\tDISCARD\n"+
		"To:dora@example.com\tREJECT\n"+
		"To:postmaster@example.com\tREJECT\n"+
		"To:example.com\tERROR:5.1.6:\"550 Nobody of that name\"\n")
	g := start(t, relayTo("smtp://"+m.Addr(), "", `recipients = ["access:`+access+`"]`))
	k := open(t, g.addr)
	rcpt(t, k, "alice@example.com", "250")
	rcpt(t, k, "Alice+news@example.com", "550") // the downstream's own no: it has no +news
	rcpt(t, k, "bob@example.com", "450 4.2.1 <bob@example.com>: Bob is on holiday")
	rcpt(t, k, "carl@example.com", missing+"carl@example.com>: Recipient address rejected: User unknown")
	rcpt(t, k, "dora@example.com", missing)
	rcpt(t, k, "nobody@example.com", "550 5.1.6 <nobody@example.com>: Nobody of that name")
	send(t, k, "ann@sender.example", "alice@example.com", hello("listed"), "250")
	one(t, m)
	g.logged(t, `"rule":"recipient-unverified"`, "450 4.2.1 <bob@example.com>")

	if err := os.WriteFile(access, []byte("To:dora@example.com\t550 Dora left\nTo:example.com\tRELAY\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.logged(t, "a changed access file was taken over")
	rcpt(t, k, "carl@example.com", "250")
	rcpt(t, k, "dora@example.com", "550 5.1.1 <dora@example.com>: Dora left")
	g.logged(t, `"level":"WARN"`, "RELAY accepts everybody at example.com")
}

// TestMapKinds is the same for the other two files, one behind the other.
func TestMapKinds(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice", "bob"}})
	dir := t.TempDir()
	virtual := mailtest.WriteFile(t, dir, "virtusertable", "alice@example.com\talice\ngone@example.com\terror:nouser 550 Gone for good\n")
	postmap := mailtest.WriteFile(t, dir, "map", "# recipients\nBob@example.com\tx\nbob@alias.example\tx\n")
	g := start(t, relayTo("smtp://"+m.Addr(), "", `aliases = ["alias.example"]
recipients = ["virtusertable:`+virtual+`", "postmap:`+postmap+`"]
subaddress = "+"`))
	k := open(t, g.addr)
	rcpt(t, k, "alice@example.com", "250")
	rcpt(t, k, "alice@alias.example", "250")
	rcpt(t, k, "bob@example.com", "250")
	rcpt(t, k, "gone@example.com", "550 5.1.1 <gone@example.com>: Gone for good")
	rcpt(t, k, "nobody@example.com", missing)
	var names []string
	for _, s := range g.Status().Sources {
		names = append(names, s.Name+" "+s.State)
	}
	if want := "postmap:" + postmap + " up virtusertable:" + virtual + " up"; strings.Join(names, " ") != want {
		t.Errorf("status: %v", names)
	}
}

// TestBadMapFile keeps a gateway from starting, with file and line.
func TestBadMapFile(t *testing.T) {
	access := mailtest.WriteFile(t, t.TempDir(), "access", "To:alice@example.com\tRELAY\nTo:bob@example.com\tREJCET\n")
	cfg := parse(t, relayTo("smtp://127.0.0.1:9", "", `recipients = ["access:`+access+`"]`))
	_, err := daemon.New(cfg, daemon.Options{LogTo: &syncBuffer{}})
	var list *config.Errors
	if !errors.As(err, &list) || len(list.List) != 1 || list.List[0].File != access || list.List[0].Line != 2 {
		t.Errorf("%v", err)
	}
	problems, warnings := daemon.CheckFiles(cfg)
	if len(problems) != 1 || problems[0].Line != 2 || len(warnings) != 0 {
		t.Errorf("%v %v", problems, warnings)
	}
}
