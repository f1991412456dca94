package milterd_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"backstop/internal/batv"
	"backstop/internal/directory"
	"backstop/internal/dkim"
	"backstop/internal/evidence"
	"backstop/internal/journal"
	"backstop/internal/keyring"
	"backstop/internal/mail"
	"backstop/internal/milter"
	"backstop/internal/milterd"
	"backstop/internal/record"
	"backstop/internal/route"
	"backstop/internal/seal"
	"backstop/internal/session"
	"backstop/internal/verdict"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	stranger = milter.Client{Name: "client.far.example", Family: '4', Addr: netip.MustParseAddr("192.0.2.1"), Port: 4000}
	server   = milter.Client{Name: "server.example.org", Family: '4', Addr: netip.MustParseAddr("198.51.100.1"), Port: 4000} // one of ours
	spammer  = milter.Client{Name: "[203.0.113.66]", Family: '4', Addr: netip.MustParseAddr("203.0.113.66"), Port: 4000}     // refused by the operator
)

// checker is an Authenticator that says what it is told to say, and counts.
type checker struct {
	mu     sync.Mutex
	spf    evidence.Result
	dmarc  evidence.DMARC
	asked  []string
	broken atomic.Bool // panics
}

func (c *checker) SPF(_ context.Context, client netip.Addr, helo string, from mail.ReversePath) evidence.SPF {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken.Load() {
		panic("spf")
	}
	c.asked = append(c.asked, strings.TrimSpace("spf "+client.String()+" "+helo+" "+from.String()))
	return evidence.SPF{Result: c.spf, Domain: from.Domain(), Helo: from.IsNull()}
}

func (c *checker) DKIM(context.Context, *dkim.Verifier) []evidence.Signature { return nil }

func (c *checker) DMARC(context.Context, []byte, evidence.SPF, []evidence.Signature, mail.ReversePath) evidence.DMARC {
	if c.broken.Load() {
		panic("dmarc")
	}
	return c.dmarc
}

// people is a source that knows everybody but nobody, and of later it cannot say.
type people struct{}

func (people) Name() string { return "people" }
func (p people) Lookup(_ context.Context, a mail.Address) directory.Answer {
	return directory.Answer{Standing: p.Known(a.Key())}
}

// Known makes it answer as a list does.
func (people) Known(key string) evidence.Standing {
	switch name, _, _ := strings.Cut(key, "@"); name {
	case "nobody":
		return evidence.Missing
	case "later":
		return evidence.Unavailable
	}
	return evidence.Exists
}

// policies panics for the senders that it is told to.
type policies struct{}

func (policies) Client(_ netip.Addr, name string) evidence.Policy {
	if name == "panic.example" {
		panic("connect")
	}
	return evidence.Policy{}
}

func (policies) Sender(from mail.Address) evidence.Policy {
	if from.LocalKey() == "panic" {
		panic("mail")
	}
	return evidence.Policy{}
}

// paper keeps what a journal writes.
type paper struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

// world is a Backstop with two domains of its own, and a door.
type world struct {
	t       testing.TB
	mu      sync.Mutex
	now     time.Time
	cfg     session.Config
	org     *session.Domain // example.org
	com     *session.Domain // example.com
	auth    *checker
	paper   *paper
	journal *journal.Journal
	key     dkim.Key
	panics  chan string

	door *milterd.Door
	addr string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC), auth: &checker{spf: evidence.None}, paper: &paper{}, panics: make(chan string, 100)}
	w.journal = journal.New(w.paper, journal.JSON)
	t.Cleanup(func() { w.journal.Close() })
	inside, err := route.ParseRelay("smtp://127.0.0.1:9")
	must(t, err)
	table, err := route.NewTable([]route.Domain{{Name: "example.org", Relay: inside}, {Name: "example.com", Relay: inside}})
	must(t, err)
	chain := directory.NewChain("all", directory.Member{Source: people{}})
	domains := map[*route.Domain]*session.Domain{}
	for _, r := range table.Domains() {
		domains[r] = &session.Domain{Route: r, Chain: chain}
	}
	w.org, w.com = domains[table.Find("example.org")], domains[table.Find("example.com")]
	dir := directory.New(directory.Config{Now: w.clock})
	t.Cleanup(func() { dir.Close() })
	remembered := record.New(record.Config{Now: w.clock})
	t.Cleanup(func() { remembered.Close() })
	w.cfg = session.Config{
		Hostname: "mx.example.org", Rules: verdict.Rules{MaxReceived: 50}, Table: table, Domains: domains, Directory: dir, Now: w.clock,
		Auth: w.auth, Internal: func(a netip.Addr) bool { return a == server.Addr || a.IsLoopback() }, Milter: true, Record: remembered,
		Blocked: func(a netip.Addr) bool { return a == spammer.Addr }, Policies: policies{}, Spool: t.TempDir(),
		Journal: w.journal, Logger: slog.New(w.journal.Handler()),
	}
	key := keyring.Key{ID: 1, Secret: keyring.Secret("secret"), Created: w.now.AddDate(0, 0, -100), SignsFrom: w.now.AddDate(0, 0, -100)}
	ring, err := keyring.New(key)
	must(t, err)
	w.cfg.Keys = func() keyring.Ring { return ring }
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	w.key = dkim.Key{Domain: "example.org", Selector: "s1", Private: private}
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// config is the door's, with the world as it is now.
func (w *world) config() milterd.Config {
	return milterd.Config{
		Engine: session.New(w.cfg), Logger: w.cfg.Logger,
		Panic: func(v any, _ []byte) { w.panics <- v.(string) },
	}
}

// open opens the door.
func (w *world) open() *world {
	w.t.Helper()
	w.door = milterd.New(w.config())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	w.addr = l.Addr().String()
	served := make(chan struct{})
	go func() { w.door.Serve(l); close(served) }()
	w.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // whoever is there still is cut off
		w.door.Shutdown(ctx)
		<-served
	})
	return w
}

// line is one line of the log.
type line struct{ Msg, ID, Rule, Stage, From, To, Reply, Client, Helo, Door, Action string }

// log is what was written down since it was asked last.
func (w *world) log() []line {
	w.t.Helper()
	w.journal.Flush()
	w.paper.mu.Lock()
	defer w.paper.mu.Unlock()
	var all []line
	for d := json.NewDecoder(&w.paper.b); d.More(); {
		var l line
		must(w.t, d.Decode(&l))
		all = append(all, l)
	}
	return all
}

// decided is the log in short: verdict and rule of each decision.
func (w *world) decided() string {
	w.t.Helper()
	var all []string
	for _, l := range w.log() {
		if l.Rule != "" {
			if l.Door != "milter" {
				w.t.Errorf("the door is %q: %+v", l.Door, l)
			}
			all = append(all, l.Msg+" "+l.Rule)
		}
	}
	return strings.Join(all, ", ")
}

// mta is a mail server that asks.
type mta struct {
	*milter.MTA
	t testing.TB
}

// dial is a mail server's new connection.
func (w *world) dial(o milter.Offer) *mta {
	w.t.Helper()
	nc, err := net.Dial("tcp", w.addr)
	must(w.t, err)
	m, err := milter.NewMTA(nc, o)
	must(w.t, err)
	w.t.Cleanup(func() { m.Close() })
	return &mta{m, w.t}
}

// from is a new connection with a client of the mail server's.
func (w *world) from(c milter.Client) *mta {
	w.t.Helper()
	m := w.dial(milter.Offer{})
	m.greets(c)
	return m
}

// greets begins a client's connection, which is never refused: what is to be said is said at MAIL.
func (m *mta) greets(c milter.Client) {
	m.t.Helper()
	if got := m.word(m.Connect(c)); got != "" {
		m.t.Errorf("CONNECT: %q", got)
	}
	m.Macros(milter.StageHelo)
	if got := m.word(m.Helo("client.example")); got != "" {
		m.t.Errorf("HELO: %q", got)
	}
}

var id = regexp.MustCompile(` \[[0-9a-z]{12}\]$`)

// word is an answer: "" to go on, the reply without its identifier, or what else it is.
func (m *mta) word(a milter.Answer, err error) string {
	m.t.Helper()
	must(m.t, err)
	switch a.Action {
	case milter.Continue:
		return ""
	case milter.Reply:
		return id.ReplaceAllString(a.Text, "")
	case milter.Accept:
		return "accept"
	case milter.Discard:
		return "discard"
	}
	return "tempfail or reject"
}

func (m *mta) mail(from string, args ...string) string {
	m.t.Helper()
	return m.word(m.Mail(from, args...))
}

func (m *mta) rcpt(to string, args ...string) string {
	m.t.Helper()
	return m.word(m.Rcpt(to, args...))
}

// field is one header field: name and what stands behind its colon, folds as LF.
type field [2]string

// split takes a message apart.
func split(text string) (fields []field, body []byte) {
	head, rest, _ := strings.Cut(text, "\r\n\r\n")
	for f := range strings.SplitSeq(strings.NewReplacer("\r\n ", "\n ", "\r\n\t", "\n\t").Replace(head), "\r\n") {
		if name, value, ok := strings.Cut(f, ":"); ok {
			fields = append(fields, field{strings.TrimRight(name, " "), value}) // as Postfix and Sendmail mend it
		}
	}
	return fields, []byte(rest)
}

// message sends a message, and returns the answer that ends it.
func (m *mta) message(text string) milter.Answer {
	m.t.Helper()
	return m.parts(split(text))
}

func (m *mta) parts(fields []field, body []byte) milter.Answer {
	m.t.Helper()
	a, err := m.Data()
	for i := 0; err == nil && a.Action == milter.Continue && i < len(fields); i++ {
		a, err = m.Header(fields[i][0], fields[i][1])
	}
	for _, next := range []func() (milter.Answer, error){m.EOH, func() (milter.Answer, error) { return m.Body(body) }, m.EndOfBody} {
		if err == nil && a.Action == milter.Continue {
			a, err = next()
		}
	}
	must(m.t, err)
	return a
}

// sends is a whole transaction as far as it goes: the last answer.
func (m *mta) sends(from string, to string, text string) milter.Answer {
	m.t.Helper()
	if a, err := m.Mail(from); err != nil || a.Action != milter.Continue {
		must(m.t, err)
		return a
	}
	if a, err := m.Rcpt(to); err != nil || a.Action != milter.Continue {
		must(m.t, err)
		return a
	}
	return m.message(text)
}

// changes are an answer's, one a line: kind, index where it matters, name and value.
func changes(a milter.Answer) []string {
	var all []string
	for _, c := range a.Changes {
		s := string(c.Kind) + " "
		if c.Kind == 'm' || c.Kind == 'i' {
			s += string(rune('0'+c.Index)) + " "
		}
		s += c.Name
		if c.Value != "" {
			s += ":" + c.Value
		}
		all = append(all, s)
	}
	return all
}

const letter = "From: Bob <bob@example.org>\r\nTo: ann@far.example\r\nSubject: A letter\r\nMessage-ID: <1@example.org>\r\n\r\nHello.\r\n"

// bounceOf is a bounce as Postfix writes it, of a message with this header.
func bounceOf(header string) string {
	return "From: MAILER-DAEMON@far.example\r\nTo: somebody\r\nSubject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"=_b\"\r\n\r\n--=_b\r\nContent-Type: text/plain\r\n\r\nIt could not be delivered.\r\n" +
		"--=_b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; far.example\r\n\r\nFinal-Recipient: rfc822; nobody@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n" +
		"--=_b\r\nContent-Type: text/rfc822-headers\r\n\r\n" + header + "\r\n--=_b--\r\n"
}

// tagged is an address with our tag.
func (w *world) tagged(address string) string {
	a, how := batv.Sign(w.cfg.Keys(), addr(w.t, address), w.clock())
	if how != batv.Signed {
		w.t.Fatalf("%s: %v", address, how)
	}
	return a.String()
}

// origin is the field that mail of somebody has who is proven.
func (w *world) origin(sender string) string {
	f, ok := seal.Origin(w.cfg.Keys(), seal.Proof{SPF: seal.Pass}, addr(w.t, sender), w.clock())
	if !ok {
		w.t.Fatal("there is no key")
	}
	return f
}

func addr(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	must(t, err)
	return a
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
