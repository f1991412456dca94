package postfix

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"backstop/internal/listen"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers a policy request with its recipient, and a look-up with its key.
type echo struct {
	name   string // of the map asked last
	closed int
}

func (e *echo) Policy(r *Request) (string, bool) {
	switch to := r.Get("recipient"); to {
	case "panic":
		panic("policy")
	case "hangup":
		return "", false
	default:
		return "answer " + to, true
	}
}

func (e *echo) Lookup(name, key string) MapAnswer {
	e.name = name
	word, text, _ := strings.Cut(key, "/")
	switch word {
	case "panic":
		panic("map")
	case "none":
		return MapAnswer{NotFound, text}
	case "later":
		return MapAnswer{Temp, text}
	case "slow":
		return MapAnswer{Timeout, text}
	case "never":
		return MapAnswer{Perm, text}
	case "long":
		return MapAnswer{OK, strings.Repeat("x", 200_000)}
	case "longtext":
		return MapAnswer{Perm, strings.Repeat("%", 200_000)}
	}
	return MapAnswer{OK, key}
}

func (e *echo) Close() { e.closed++ }

// once is a connection in memory on which everything has come already, and the client has shut its side
// down: what it is told stands in out.
type once struct {
	net.Conn // nil: whatever is not below must not be called
	in       io.Reader
	out      bytes.Buffer
	writes   int
	closed   bool
}

func (c *once) Read(b []byte) (int, error)       { return c.in.Read(b) }
func (c *once) Write(b []byte) (int, error)      { c.writes++; return c.out.Write(b) }
func (c *once) Close() error                     { c.closed = true; return nil }
func (c *once) SetReadDeadline(time.Time) error  { return nil }
func (c *once) SetWriteDeadline(time.Time) error { return nil }
func (c *once) RemoteAddr() net.Addr             { return &net.UnixAddr{Name: "client", Net: "unix"} }

// play gives a server input and returns what it answered and of what it complained.
func play(t testing.TB, in io.Reader, server func(net.Conn, *Config, *echo) listen.Served) (*once, error) {
	t.Helper()
	var said error
	c, h := &once{in: in}, &echo{}
	server(c, &Config{
		Panic:     func(v any, stack []byte) { said = fmt.Errorf("panic: %v", v) },
		Malformed: func(peer string, err error) { said = err },
	}, h).Serve()
	if !c.closed || h.closed != 1 {
		t.Errorf("connection closed: %v; handler closed %d times", c.closed, h.closed)
	}
	return c, said
}

func policyServer(nc net.Conn, cfg *Config, h *echo) listen.Served { return NewPolicyConn(nc, cfg, h) }
func socketServer(nc net.Conn, cfg *Config, h *echo) listen.Served {
	return NewSocketmapConn(nc, cfg, h)
}
func tcpServer(nc net.Conn, cfg *Config, h *echo) listen.Served {
	return NewTCPTableConn(nc, cfg, h, "fixed")
}

const okRequest = "request=smtpd_access_policy\nprotocol_state=RCPT\nrecipient=a@example.com\n\n"
const okAnswer = "action=answer a@example.com\n\n"

func TestPolicyServer(t *testing.T) {
	for name, tt := range map[string]struct{ in, out, complaint string }{
		"one":                {okRequest, okAnswer, ""},
		"three at once":      {okRequest + okRequest + okRequest, okAnswer + okAnswer + okAnswer, ""},
		"unknown names":      {"request=smtpd_access_policy\nnew_in_postfix_9=x\n\n", "action=answer \n\n", ""},
		"equals in a value":  {"request=smtpd_access_policy\nrecipient=a=b=c\n\n", "action=answer a=b=c\n\n", ""},
		"twice the name":     {"request=x\nrecipient=first\nrecipient=second\n\n", "action=answer first\n\n", ""},
		"hangs up":           {okRequest + "request=x\nrecipient=hangup\n\n" + okRequest, okAnswer, ""},
		"control characters": {"request=x\nrecipient=a\x01b\rc\n\n", "action=answer a b c\n\n", ""},
		"panics":             {okRequest + "request=x\nrecipient=panic\n\n" + okRequest, okAnswer, "panic: policy"},
		"cut off":            {okRequest + "request=x\nrecip", okAnswer, ""},
		"nothing":            {"", "", ""},
		"no request=":        {okRequest + "protocol_state=RCPT\n\n", okAnswer, "begins with request=smtpd_access_policy"},
		"empty":              {"\n", "", "an empty request"},
		"CRLF":               {"request=smtpd_access_policy\r\n", "", "LF alone"},
		"no name":            {"request=x\n=y\n\n", "", "not NAME=VALUE"},
		"no equals":          {"request=x\nEHLO me\n\n", "", "not NAME=VALUE"},
		"too many":           {"request=x\n" + strings.Repeat("a=b\n", 256) + "\n", "", "more than 256 attributes"},
		"as many as may be":  {"request=x\n" + strings.Repeat("a=b\n", 255) + "\n", "action=answer \n\n", ""},
		"too long":           {"request=x\nrecipient=" + strings.Repeat("x", 17000) + "\n\n", "", "longer than 16384"},
		"no end":             {"request=x\n" + strings.Repeat("a", 1<<20), "", "longer than 16384"},
		"long":               {okRequest + "request=x\nhelo_name=" + strings.Repeat("x", 16000) + "\n\n" + okRequest, okAnswer + "action=answer \n\n" + okAnswer, ""},
		"long answer":        {"request=x\nrecipient=" + strings.Repeat("é", 1000) + "\n\n", "action=answer " + strings.Repeat("é", 496) + "\n\n", ""},
	} {
		t.Run(name, func(t *testing.T) { expect(t, tt.in, tt.out, tt.complaint, policyServer) })
	}
}

// expect plays in whole and octet by octet.
func expect(t *testing.T, in, out, complaint string, server func(net.Conn, *Config, *echo) listen.Served) {
	t.Helper()
	for _, r := range []io.Reader{strings.NewReader(in), byOctet{strings.NewReader(in)}} {
		c, said := play(t, r, server)
		if got := c.out.String(); got != out {
			t.Errorf("answered %.200q, want %.200q", got, out)
		}
		if complaint == "" && said != nil || complaint != "" && (said == nil || !strings.Contains(said.Error(), complaint)) {
			t.Errorf("complaint %v, want %q", said, complaint)
		}
		if said != nil && !strings.HasPrefix(complaint, "panic") && !errors.Is(said, ErrMalformed) {
			t.Errorf("%v does not wrap ErrMalformed", said)
		}
	}
}

type byOctet struct{ r io.Reader }

func (r byOctet) Read(b []byte) (int, error) { return r.r.Read(b[:min(len(b), 1)]) }

func TestSocketmapServer(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for name, tt := range map[string]struct{ in, out, complaint string }{
		"found":            {"17:recipients a@b.de,", "9:OK a@b.de,", ""},
		"none":             {"15:recipients none,", "9:NOTFOUND ,", ""},
		"later":            {"20:recipients later/why,", "8:TEMP why,", ""},
		"slow":             {"19:recipients slow/why,", "11:TIMEOUT why,", ""},
		"never":            {"20:recipients never/why,", "8:PERM why,", ""},
		"two at once":      {"3:a b,3:a c,", "4:OK b,4:OK c,", ""},
		"blanks in a key":  {"9:m \"a b\"@c,", "10:OK \"a b\"@c,", ""},
		"empty key":        {"2:m ,", "3:OK ,", ""},
		"comma in a key":   {"5:m a,b,", "6:OK a,b,", ""},
		"long key":         {"5002:m " + long + ",", "5003:OK " + long + ",", ""},
		"no key":           {"4:name,3:a b,", "56:PERM a request is the name of a map, a space and the key,4:OK b,", ""},
		"empty":            {"0:,", "56:PERM a request is the name of a map, a space and the key,", ""},
		"panics":           {"3:a b,7:m panic,3:a b,", "4:OK b,19:TEMP internal error,", "panic: map"},
		"cut off":          {"3:a b,9:m b", "4:OK b,", ""},
		"cut off early":    {"3:a b,9", "4:OK b,", ""},
		"long answer":      {"6:m long,", "44:TEMP the answer is too long for the protocol,", ""},
		"too long":         {"16385:", "", "longer than 16384"},
		"absurd":           {"99999999999999999999999:", "", "longer than 16384"},
		"leading zero":     {"03:a b,", "", "begins with a zero"},
		"length too small": {"3:a b,2:a b,", "4:OK b,", "does not end with a comma"},
		"length too large": {"3:a b,4:a b,", "4:OK b,", ""}, // waits for more
		"no comma":         {"3:a b;", "", "does not end with a comma"},
		"no colon":         {"3;a b,", "", "is no netstring"},
		"no length":        {":a b,", "", "is no netstring"},
		"negative":         {"-3:a b,", "", "is no netstring"},
		"another protocol": {"GET / HTTP/1.0\r\n", "", "is no netstring"},
	} {
		t.Run(name, func(t *testing.T) { expect(t, tt.in, tt.out, tt.complaint, socketServer) })
	}
	t.Run("long text", func(t *testing.T) {
		c, _ := play(t, strings.NewReader("10:m longtext,"), socketServer)
		if got := c.out.String(); !strings.HasPrefix(got, "100000:PERM %%") || len(got) != len("100000:,")+100_000 {
			t.Errorf("%d octets: %.20q", len(got), got)
		}
	})
}

func TestTCPTableServer(t *testing.T) {
	for name, tt := range map[string]struct{ in, out, complaint string }{
		"found":            {"get a@b.de\n", "200 a@b.de\n", ""},
		"encoded":          {"get %61%20b%25%0a@b.%C3%a9\n", "200 a%20b%25%0A@b.%C3%A9\n", ""},
		"octets":           {"get b\xc3\xa9\n", "200 b%C3%A9\n", ""},
		"none":             {"get none/no%20such%20user%0A\n", "500 no such user%0A\n", ""},
		"later":            {"get later/why\n", "400 why\n", ""},
		"never is later":   {"get never/why\n", "400 why\n", ""},
		"two at once":      {"get a\nget b\n", "200 a\n200 b\n", ""},
		"broken hex":       {"get a%4\nget a%\nget a%4x\nget %%\n", strings.Repeat("400 "+appended(notHexAnswer)+"\n", 4), ""},
		"blank in a key":   {"get a b\nget a\r\n", strings.Repeat("400 "+appended(notHexAnswer)+"\n", 2), ""},
		"put":              {"put a b\nget\nget \n\nget a\n", strings.Repeat("400 "+notGetAnswer.Text+"\n", 4) + "200 a\n", ""},
		"panics":           {"get a\nget panic\nget b\n", "200 a\n400 internal error\n", "panic: map"},
		"long answer":      {"get long\n", "400 " + tooLongAnswer.Text + "\n", ""},
		"long text":        {"get longtext\n", "400 " + strings.Repeat("%25", 1363) + "\n", ""},
		"too long":         {"get " + strings.Repeat("x", 16384) + "\n", "", "longer than 16384"},
		"no end":           {"get " + strings.Repeat("x", 1<<20), "", "longer than 16384"},
		"another protocol": {"GET / HTTP/1.0\r\n", "400 " + notGetAnswer.Text + "\n", ""},
	} {
		t.Run(name, func(t *testing.T) { expect(t, tt.in, tt.out, tt.complaint, tcpServer) })
	}
}

func appended(a MapAnswer) string { return string(appendHex(nil, a.Text, true)) }

func TestTCPTableHandlerIsToldTheMap(t *testing.T) {
	h := &echo{}
	NewTCPTableConn(&once{in: strings.NewReader("get a\n")}, &Config{}, h, "sign").Serve()
	if h.name != "sign" {
		t.Errorf("asked for map %q", h.name)
	}
}

// TestOneWrite counts the writes of a hundred requests that came at once.
func TestOneWrite(t *testing.T) {
	for name, tt := range map[string]struct {
		in     string
		server func(net.Conn, *Config, *echo) listen.Served
	}{
		"policy": {"request=x\n\n", policyServer}, "socketmap": {"3:a b,", socketServer}, "tcp": {"get a\n", tcpServer},
	} {
		if c, _ := play(t, strings.NewReader(strings.Repeat(tt.in, 100)), tt.server); c.writes != 1 {
			t.Errorf("%s: 100 requests were answered in %d writes", name, c.writes)
		}
	}
}

// quiet answers without allocating.
type quiet struct{}

func (quiet) Policy(r *Request) (string, bool)  { return "DUNNO", r.Is("protocol_state", "RCPT") }
func (quiet) Lookup(name, key string) MapAnswer { return MapAnswer{OK, key} }
func (quiet) Close()                            {}

// again gives the same request over and over: one for each Read.
type again struct {
	once
	request string
	served  chan struct{} // a word before each Read that is not the first
	next    chan bool
}

func (c *again) Write(b []byte) (int, error) { return len(b), nil }
func (c *again) Read(b []byte) (int, error) {
	c.served <- struct{}{}
	if !<-c.next {
		return 0, io.EOF
	}
	return copy(b, c.request), nil
}

func TestAllocations(t *testing.T) {
	for name, tt := range map[string]struct {
		request string
		allow   float64
		server  func(net.Conn) listen.Served
	}{
		"policy":    {okRequest, 0, func(nc net.Conn) listen.Served { return NewPolicyConn(nc, &Config{}, quiet{}) }},
		"socketmap": {"17:recipients a@b.de,", 1, func(nc net.Conn) listen.Served { return NewSocketmapConn(nc, &Config{}, quiet{}) }},
		"tcp table": {"get a@b.de\n", 1, func(nc net.Conn) listen.Served { return NewTCPTableConn(nc, &Config{}, quiet{}, "m") }},
	} {
		c := &again{request: tt.request, served: make(chan struct{}), next: make(chan bool)}
		done := make(chan struct{})
		go func() { tt.server(c).Serve(); close(done) }()
		<-c.served
		got := testing.AllocsPerRun(1000, func() { c.next <- true; <-c.served })
		c.next <- false
		<-done
		if got > tt.allow {
			t.Errorf("%s: %.1f allocations a request, want at most %.0f", name, got, tt.allow)
		}
	}
}

// TestSilence has the server hang up on who is silent, and on who dribbles.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		start, done := time.Now(), make(chan struct{})
		go func() { NewPolicyConn(far, &Config{Timeout: time.Minute}, &echo{}).Serve(); close(done) }()
		p := NewPolicyClient(near)
		for range 3 { // whoever asks may go on for ever
			time.Sleep(59 * time.Second)
			if _, err := p.Ask(); err != nil {
				t.Fatalf("after %v: %v", time.Since(start), err)
			}
		}
		asked := time.Now()
		for range 59 {
			time.Sleep(time.Second)
			near.Write([]byte("r"))
		}
		<-done
		if took := time.Since(asked); took > time.Minute {
			t.Errorf("a request that dribbles in had %v", took)
		}
		near.Close()
	})
}

// slowly answers when it is let.
type slowly struct{ begun, let chan struct{} }

func (s slowly) Policy(*Request) (string, bool) {
	s.begun <- struct{}{}
	<-s.let
	return "DUNNO", true
}
func (s slowly) Close() {}

func TestDrain(t *testing.T) {
	near, far := tcpPair(t)
	s := slowly{make(chan struct{}), make(chan struct{})}
	c, done := NewPolicyConn(far, &Config{}, s), make(chan struct{})
	go func() { c.Serve(); close(done) }()
	p := NewPolicyClient(near)
	if err := p.Send(); err != nil {
		t.Fatal(err)
	}
	<-s.begun
	c.Drain()
	s.let <- struct{}{}
	if a, err := p.Receive(); a != "DUNNO" || err != nil {
		t.Errorf("the request in hand: %q, %v", a, err)
	}
	if _, err := p.Receive(); !errors.Is(err, ErrHangUp) {
		t.Errorf("after it: %v", err)
	}
	<-done
	// Before Serve, and while it waits.
	for _, before := range []bool{true, false} {
		near, far := tcpPair(t)
		c, done := NewSocketmapConn(far, &Config{}, &echo{}), make(chan struct{})
		if before {
			c.Drain()
		}
		go func() { c.Serve(); close(done) }()
		if !before {
			if _, err := NewSocketmapClient(near).Lookup("m", "a"); err != nil {
				t.Fatal(err)
			}
			c.Drain()
		}
		<-done
	}
}

// tcpPair is a connection over the loopback.
func tcpPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// TestHalfClosed shuts the client's side down behind its request, as Exim does.
func TestHalfClosed(t *testing.T) {
	near, far := tcpPair(t)
	go NewTCPTableConn(far, &Config{}, &echo{}, "m").Serve()
	io.WriteString(near, "get a\nget b\n")
	near.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(near); string(got) != "200 a\n200 b\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestClientGone closes while its request is answered: there is nobody to write to.
func TestClientGone(t *testing.T) {
	near, far := tcpPair(t)
	s, done := slowly{make(chan struct{}), make(chan struct{})}, make(chan struct{})
	go func() { NewPolicyConn(far, &Config{}, s).Serve(); close(done) }()
	NewPolicyClient(near).Send()
	<-s.begun
	near.Close()
	close(s.let)
	<-done
}

// TestManyConnections has a thousand connections at once, each with many requests in flight.
func TestManyConnections(t *testing.T) {
	const connections, requests = 1000, 20
	var served atomic.Int64
	loop := listen.NewLoop(func(nc net.Conn) listen.Served {
		return NewPolicyConn(nc, &Config{}, counting{&served})
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go loop.Serve(l)
	var all, asked sync.WaitGroup
	all.Add(connections)
	for range connections {
		asked.Go(func() {
			nc, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Error(err)
				all.Done()
				return
			}
			defer nc.Close()
			c := NewPolicyClient(nc)
			if _, err := c.Ask(); err != nil {
				t.Error(err)
			}
			all.Done()
			all.Wait() // everybody is in
			for range requests - 1 {
				if err := c.Send(Attr{"protocol_state", "RCPT"}); err != nil {
					t.Error(err)
				}
			}
			for range requests - 1 {
				if a, err := c.Receive(); a != "DUNNO" || err != nil {
					t.Error(a, err)
				}
			}
		})
	}
	all.Wait()
	if n := loop.Open(); n != connections {
		t.Errorf("%d connections are open, want %d", n, connections)
	}
	asked.Wait()
	if err := loop.Shutdown(context.Background()); err != nil || served.Load() != connections*requests {
		t.Errorf("served %d, want %d; %v", served.Load(), connections*requests, err)
	}
}

type counting struct{ n *atomic.Int64 }

func (c counting) Policy(*Request) (string, bool) { c.n.Add(1); return "DUNNO", true }
func (c counting) Close()                         {}

// TestManyRequests asks thousands of things on one connection.
func TestManyRequests(t *testing.T) {
	near, far := tcpPair(t)
	done := make(chan struct{})
	go func() { NewSocketmapConn(far, &Config{}, &echo{}).Serve(); close(done) }()
	c := NewSocketmapClient(near)
	for i := range 5000 {
		key := fmt.Sprintf("user%d@example.com", i) + strings.Repeat("x", i%3000)
		if a, err := c.Lookup("recipients", key); a.Status != OK || a.Text != key || err != nil {
			t.Fatalf("%d: %v %.40q, %v", i, a.Status, a.Text, err)
		}
	}
	c.Close()
	<-done
}
