package session

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"backstop/internal/directory"
	"backstop/internal/dkim"
	"backstop/internal/evidence"
	"backstop/internal/keyring"
	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/record"
	"backstop/internal/relay"
	"backstop/internal/route"
	"backstop/internal/seal"
	"backstop/internal/smtp"
	"backstop/internal/srs"
	"backstop/internal/verdict"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	stranger = netip.MustParseAddr("192.0.2.1")
	server   = netip.MustParseAddr("198.51.100.1") // one of ours, among the clients of [outbound]
	branch   = netip.MustParseAddr("203.0.113.1")  // may claim example.org
)

// checker is an Authenticator that says what it is told to say, and counts.
type checker struct {
	spf   evidence.Result
	dmarc evidence.DMARC
	asked []string
}

func (c *checker) SPF(_ context.Context, client netip.Addr, helo string, from mail.ReversePath) evidence.SPF {
	c.asked = append(c.asked, "spf "+client.String()+" "+helo+" "+from.String())
	return evidence.SPF{Result: c.spf, Domain: from.Domain(), Helo: from.IsNull()}
}

func (c *checker) DKIM(context.Context, *dkim.Verifier) []evidence.Signature {
	c.asked = append(c.asked, "dkim")
	return nil
}

func (c *checker) DMARC(context.Context, []byte, evidence.SPF, []evidence.Signature, mail.ReversePath) evidence.DMARC {
	c.asked = append(c.asked, "dmarc")
	return c.dmarc
}

// people is a source that knows everybody, and remembers for whom it was asked.
type people struct{ asked []string }

func (*people) Name() string { return "people" }
func (p *people) Lookup(_ context.Context, a mail.Address) directory.Answer {
	p.asked = append(p.asked, a.String())
	return directory.Answer{Standing: evidence.Exists}
}

// broken is a store that cannot be read.
type broken struct{}

func (broken) SaveRecords(context.Context, []record.Entry) error { return errBroken }
func (broken) ExpireRecords(context.Context, time.Time) error    { return errBroken }
func (broken) HasRecord(context.Context, record.Kind, [16]byte, time.Time) (bool, error) {
	return false, errBroken
}

var errBroken = errors.New("the disk is on fire")

// world is a gateway with two domains of its own, a server behind it and one before it.
type world struct {
	t        testing.TB
	now      time.Time
	cfg      Config
	org, com *Domain // example.org, with the alias example.net, and example.com
	auth     *checker
	people   *people
	near     *mailtest.Mock // behind
	far      *mailtest.Mock // where mail leaves to
	key      dkim.Key
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC), auth: &checker{spf: evidence.None}, people: &people{}}
	w.near, w.far = mailtest.NewMock(t, mailtest.Script{}), mailtest.NewMock(t, mailtest.Script{})
	inside, insideRoute := w.relay(w.near)
	outside, outsideRoute := w.relay(w.far)
	table, err := route.NewTable([]route.Domain{{Name: "example.org", Aliases: []string{"example.net"}, Relay: insideRoute}, {Name: "example.com", Relay: insideRoute}})
	must(t, err)
	chain := directory.NewChain("everybody", directory.Member{Source: w.people, Lives: directory.Lives{ExistsFor: directory.Never}})
	domains := map[*route.Domain]*Domain{}
	for _, r := range table.Domains() {
		domains[r] = &Domain{Route: r, Chain: chain, Relay: inside}
	}
	w.org, w.com = domains[table.Find("example.org")], domains[table.Find("example.com")]
	w.org.Senders = func(client netip.Addr, _ mail.Address) (string, bool) {
		if client == branch {
			return "203.0.113.0/24", true
		}
		return "", false
	}
	dir := directory.New(directory.Config{Now: w.clock})
	t.Cleanup(func() { dir.Close() })
	w.cfg = Config{
		Hostname: "mx.example.org", Rules: verdict.Rules{MaxReceived: 50}, Table: table, Domains: domains, Directory: dir, Now: w.clock,
		Auth: w.auth, Outbound: &Outbound{Relay: outside, Route: outsideRoute, Allowed: func(a netip.Addr) bool { return a == server }},
		Spool: t.TempDir(), Logger: slog.New(slog.DiscardHandler),
	}
	w.keys("secret one", "secret two")
	w.signs()
	w.remembers(nil)
	return w
}

func (w *world) clock() time.Time { return w.now }

func (w *world) relay(m *mailtest.Mock) (*relay.Downstream, route.Relay) {
	w.t.Helper()
	host, port, err := net.SplitHostPort(m.Addr())
	must(w.t, err)
	r, err := route.ParseRelay("smtp://" + net.JoinHostPort(host, port))
	must(w.t, err)
	d := relay.New(r, relay.Options{LocalName: "mx.example.org"})
	w.t.Cleanup(d.Close)
	return d, r
}

// keys gives the world keys 1, 2, …; the last signs.
func (w *world) keys(secrets ...string) {
	w.t.Helper()
	var keys []keyring.Key
	for i, secret := range secrets {
		from := w.now.AddDate(0, 0, i-100)
		keys = append(keys, keyring.Key{ID: keyring.ID(i + 1), Secret: keyring.Secret(secret), Created: from, SignsFrom: from})
	}
	ring, err := keyring.New(keys...)
	must(w.t, err)
	w.cfg.Keys = func() keyring.Ring { return ring }
}

// signs gives example.org a DKIM key.
func (w *world) signs() {
	w.t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(w.t, err)
	w.key = dkim.Key{Domain: "example.org", Selector: "s1", Private: private}
	w.org.Sign = []dkim.Key{w.key}
	w.org.PublicKey = func(selector string) crypto.PublicKey {
		if selector == "s1" {
			return private.Public()
		}
		return nil
	}
}

// remembers gives the world another record of mail.
func (w *world) remembers(store record.Store) {
	r := record.New(record.Config{Store: store, Now: w.clock})
	w.t.Cleanup(func() { r.Close() })
	w.cfg.Record = r
}

// rewrites lets SRS addresses be made and known.
func (w *world) rewrites(domains ...string) *srs.Rewriter {
	w.t.Helper()
	r, err := srs.New(srs.Options{Domain: "example.org", Secrets: [][]byte{[]byte("srs secret")}})
	must(w.t, err)
	w.cfg.SRS, w.cfg.SRSDomains = r, domains
	return r
}

// from opens a session of a client with the world as it is now.
func (w *world) from(client netip.Addr, door evidence.Door) *Session {
	w.t.Helper()
	s := New(w.cfg).Begin(w.t.Context(), door, evidence.Client{Addr: client, Helo: "client.example", Protocol: "ESMTP"})
	w.t.Cleanup(s.Close)
	s.Connect(false, false)
	s.Helo("client.example", "ESMTP", false)
	return s
}

// letter is one transaction.
type letter struct {
	from string // "": the null sender
	to   []string
	text string
}

// sends plays a letter as far as it goes, and gives the last verdict and the session.
func (w *world) sends(s *Session, l letter) verdict.Verdict {
	w.t.Helper()
	if v := s.Mail(path(w.t, l.from), smtp.MailParams{}); !v.Reply.IsZero() && !v.Reply.Positive() {
		return v
	}
	var last verdict.Verdict
	for _, to := range l.to {
		last = s.Rcpt(addr(w.t, to), smtp.RcptParams{})
	}
	if len(s.Recipients()) == 0 {
		return last
	}
	return s.Message(strings.NewReader(l.text))
}

// arrives plays a letter of a stranger's.
func (w *world) arrives(l letter) (verdict.Verdict, *Session) {
	w.t.Helper()
	s := w.from(stranger, evidence.DoorSMTP)
	return w.sends(s, l), s
}

// leaves plays a letter of one of our servers'.
func (w *world) leaves(l letter) (verdict.Verdict, *Session) {
	w.t.Helper()
	s := w.from(server, evidence.DoorOutbound)
	return w.sends(s, l), s
}

// one is the only message that a server was given, which then forgets it.
func (w *world) one(m *mailtest.Mock) mailtest.Message {
	w.t.Helper()
	all := kept(m)
	if len(all) != 1 {
		w.t.Fatalf("%d messages were taken", len(all))
	}
	m.Forget()
	return all[0]
}

func kept(m *mailtest.Mock) []mailtest.Message {
	return slices.DeleteFunc(m.Messages(), func(m mailtest.Message) bool { return !m.Kept })
}

// recipients are those of a message, with spaces between them.
func recipients(m mailtest.Message) string {
	var all []string
	for _, r := range m.To {
		all = append(all, r.Path)
	}
	return strings.Join(all, " ")
}

// bounceOf is a bounce as Postfix writes it, of a message with this header.
func bounceOf(header string) string {
	return "From: MAILER-DAEMON@far.example\r\nTo: somebody\r\nSubject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/report; report-type=delivery-status; boundary=\"=_b\"\r\n\r\n--=_b\r\nContent-Type: text/plain\r\n\r\nIt could not be delivered.\r\n" +
		"--=_b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; far.example\r\n\r\nFinal-Recipient: rfc822; nobody@far.example\r\nAction: failed\r\nStatus: 5.1.1\r\n" +
		"--=_b\r\nContent-Type: text/rfc822-headers\r\n\r\n" + header + "\r\n--=_b--\r\n"
}

const letterHead = "From: Bob <bob@example.org>\r\nTo: nobody@far.example\r\nSubject: A letter\r\nMessage-ID: <1@example.org>\r\n"

// sealed is a header of bob's with our seal for somebody.
func (w *world) sealed(sender string, at time.Time) string {
	w.t.Helper()
	field, ok := seal.Seal(w.cfg.Keys(), addr(w.t, sender), at)
	if !ok {
		w.t.Fatal("there is no key")
	}
	return field + letterHead
}

// signed is a header with our DKIM signature.
func (w *world) signed(head string) string {
	w.t.Helper()
	s := dkim.NewSigning([]byte(head), []dkim.Key{w.key}, w.now)
	_, err := s.Write([]byte("Hello.\r\n"))
	must(w.t, err)
	field, err := s.Fields()
	must(w.t, err)
	return string(field) + head
}

// origin is a header of ann's, who wrote to us, with what we found of her.
func (w *world) origin(sender string, p seal.Proof) string {
	w.t.Helper()
	field, ok := seal.Origin(w.cfg.Keys(), p, addr(w.t, sender), w.now)
	if !ok {
		w.t.Fatal("there is no key")
	}
	return field + "From: ann@far.example\r\nSubject: To you\r\nMessage-ID: <2@far.example>\r\n"
}

func addr(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	must(t, err)
	return a
}

func path(t testing.TB, s string) mail.ReversePath {
	t.Helper()
	if s == "" {
		return mail.ReversePath{}
	}
	return mail.ReversePath{Address: addr(t, s)}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
