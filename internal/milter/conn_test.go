package milter_test

import (
	"io"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"backstop/internal/mail"
	"backstop/internal/milter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a handler that writes down what it is told, and answers what it was told to.
type recorder struct {
	c       *milter.Conn
	log     []string
	say     map[string]milter.Response // by the first word of a line of log
	message func(*milter.Message) milter.Response
	done    chan struct{}
}

func (r *recorder) told(words ...string) milter.Response {
	line := strings.Join(words, " ")
	r.log = append(r.log, line)
	if one, ok := r.say[line]; ok {
		return one
	}
	return r.say[words[0]]
}

func (r *recorder) Connect(c milter.Client) milter.Response {
	at := c.Path
	if c.Addr.IsValid() {
		at = netip.AddrPortFrom(c.Addr, c.Port).String()
	}
	return r.told("connect", c.Name, string(c.Family), at)
}
func (r *recorder) Helo(name string) milter.Response { return r.told("helo", name) }
func (r *recorder) Mail(from string, args []string) milter.Response {
	return r.told(append([]string{"mail", "<" + from + ">"}, args...)...)
}
func (r *recorder) Rcpt(to string, args []string) milter.Response {
	return r.told(append([]string{"rcpt", "<" + to + ">"}, args...)...)
}
func (r *recorder) Data() milter.Response            { return r.told("data") }
func (r *recorder) Unknown(s string) milter.Response { return r.told("unknown", s) }
func (r *recorder) Abort()                           { r.told("abort") }
func (r *recorder) Close()                           { r.told("close") }
func (r *recorder) Message(m *milter.Message) milter.Response {
	if r.message != nil {
		r.log = append(r.log, "message")
		return r.message(m)
	}
	b, err := io.ReadAll(m)
	if err != nil {
		return r.told("broken", err.Error())
	}
	return r.told("message", string(b))
}

const everything = milter.AddHeader | milter.ChangeBody | milter.AddRcpt | milter.DeleteRcpt | milter.ChangeHeader |
	milter.Quarantine | milter.ChangeFrom | milter.AddRcptArgs

// start serves r on one end of a connection and negotiates on the other.
func start(t *testing.T, r *recorder, cfg milter.Config, o milter.Offer) *milter.MTA {
	t.Helper()
	nc := serve(t, r, cfg)
	mta, err := milter.NewMTA(nc, o)
	if err != nil {
		t.Fatal(err)
	}
	return mta
}

func serve(t *testing.T, r *recorder, cfg milter.Config) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	cfg.NewHandler = func(c *milter.Conn) milter.Handler { r.c = c; return r }
	r.done = make(chan struct{})
	conn := milter.NewConn(far, &cfg)
	go func() { defer close(r.done); conn.Serve() }()
	t.Cleanup(func() { near.Close(); <-r.done })
	return near
}

// must gives the answer of a call that has to succeed.
func must(t *testing.T) func(milter.Answer, error) milter.Answer {
	return func(a milter.Answer, err error) milter.Answer {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
}

func TestOneMessage(t *testing.T) {
	r := &recorder{say: map[string]milter.Response{
		"rcpt <gone%elsewhere@example.com>": {Action: milter.Reply, Reply: mail.MustReply(550, "5.1.1", "No such user").About("gone%elsewhere@example.com")},
		"message": {Action: milter.Continue, Changes: &milter.Changes{
			From:       &milter.Sender{Address: "prvs=1=ann@example.org", Args: "SIZE=10"},
			DeleteRcpt: []string{"bob@example.com"},
			AddRcpt:    []milter.Rcpt{{Address: "a@example.com"}, {Address: "b@example.com", Args: "NOTIFY=NEVER"}},
			Edit:       []milter.HeaderEdit{{Name: "X", Nth: 1, Delete: true}, {Name: "X", Nth: 3, Value: " v"}},
			Insert:     []milter.Header{{Name: "One", Value: " 1"}, {Name: "Two", Value: " 2\r\n\tfold"}},
			Add:        []milter.Header{{Name: "Last", Value: " 9"}},
			Quarantine: "odd",
		}},
	}}
	mta := start(t, r, milter.Config{Actions: everything, Steps: milter.NRHeader | milter.NREOH | milter.Skip | milter.HeaderLeadSpace}, milter.Offer{})
	ok := must(t)
	ok(mta.Connect(milter.Client{Name: "mx.example.net", Family: '4', Addr: netip.MustParseAddr("192.0.2.1"), Port: 4711}))
	ok(mta.Helo("mx.example.net"))
	ok(mta.Mail("ann@example.org", "SIZE=10", "BODY=8BITMIME"))
	ok(mta.Rcpt("bob@example.com"))
	a := ok(mta.Rcpt("gone%elsewhere@example.com"))
	if want := "550 5.1.1 <gone%elsewhere@example.com>: No such user"; a.Action != milter.Reply || a.Text != want || a.Code() != 550 {
		t.Errorf("%+v, want %q", a, want)
	}
	ok(mta.Data())
	ok(mta.Header("From", " ann@example.org"))
	ok(mta.Header("Subject", " a\n b"))
	ok(mta.EOH())
	ok(mta.Body([]byte("text\r\n")))
	a = ok(mta.EndOfBody())
	want := []milter.Change{
		{Kind: 'e', Name: "<prvs=1=ann@example.org>", Value: "SIZE=10"},
		{Kind: '-', Name: "<bob@example.com>"},
		{Kind: '+', Name: "<a@example.com>"},
		{Kind: '2', Name: "<b@example.com>", Value: "NOTIFY=NEVER"},
		{Kind: 'm', Index: 3, Name: "X", Value: " v"},
		{Kind: 'm', Index: 1, Name: "X"},
		{Kind: 'i', Name: "Two", Value: " 2\n\tfold"},
		{Kind: 'i', Name: "One", Value: " 1"},
		{Kind: 'h', Name: "Last", Value: " 9"},
		{Kind: 'q', Name: "odd"},
	}
	if a.Action != milter.Continue || !reflect.DeepEqual(a.Changes, want) {
		t.Errorf("%+v\nwant %+v", a.Changes, want)
	}
	if err := mta.Quit(); err != nil {
		t.Fatal(err)
	}
	<-r.done
	wantLog(t, r,
		"connect mx.example.net 4 192.0.2.1:4711", "helo mx.example.net", "mail <ann@example.org> SIZE=10 BODY=8BITMIME",
		"rcpt <bob@example.com>", "rcpt <gone%elsewhere@example.com>", "data",
		"message From: ann@example.org\r\nSubject: a\r\n b\r\n\r\ntext\r\n", "abort", "close")
}

func wantLog(t *testing.T, r *recorder, want ...string) {
	t.Helper()
	if !reflect.DeepEqual(r.log, want) {
		t.Errorf("the handler was told\n%q\nwant\n%q", r.log, want)
	}
}
