package milter_test

import (
	"io"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"backstop/internal/milter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a handler that writes down what it is told, and answers what it was told to.
type recorder struct {
	c       *milter.Conn // of CONNECT
	conn    *milter.Conn
	log     []string
	say     map[string]milter.Response // by the first word of a line of log
	message func(*milter.Message) milter.Response
	see     func() string // written behind each line
	done    chan struct{}
}

func (r *recorder) told(words ...string) milter.Response {
	line := strings.Join(words, " ")
	r.log = append(r.log, line)
	if r.see != nil {
		r.log[len(r.log)-1] += r.see()
	}
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
	r.conn = conn
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

func wantLog(t *testing.T, r *recorder, want ...string) {
	t.Helper()
	if !reflect.DeepEqual(r.log, want) {
		t.Errorf("the handler was told\n%q\nwant\n%q", r.log, want)
	}
}

// usual is what the door asks for.
const usual = milter.NRHeader | milter.NREOH | milter.Skip | milter.HeaderLeadSpace

var client = milter.Client{Name: "mx.example.net", Family: '4', Addr: netip.MustParseAddr("192.0.2.1"), Port: 25}

// open goes up to RCPT.
func open(t *testing.T, mta *milter.MTA) {
	t.Helper()
	ok := must(t)
	ok(mta.Connect(client))
	ok(mta.Helo("mx.example.net"))
	ok(mta.Mail("ann@example.org"))
	ok(mta.Rcpt("bob@example.com"))
}

// over waits until r's connection is.
func over(t *testing.T, r *recorder, mta *milter.MTA) {
	t.Helper()
	mta.Quit()
	<-r.done
}
