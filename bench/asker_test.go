package main

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"backstop/internal/mail"
	"backstop/internal/milter"
	wire "backstop/internal/postfix"
)

// fakeDoors serve the wires by a rule that is easily told: who is called user… exists.
type fakeDoors struct {
	policy, socketmap, table, milter string
}

type served interface{ Serve() }

func serveFake(t *testing.T, begin func(net.Conn) served) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go begin(conn).Serve()
		}
	}()
	return l.Addr().String()
}

func startFakes(t *testing.T) fakeDoors {
	t.Helper()
	var cfg wire.Config
	filter := &milter.Config{NewHandler: func(*milter.Conn) milter.Handler { return fakeFilter{} }, Actions: milter.AddHeader, Steps: milter.NRHeader | milter.HeaderLeadSpace}
	return fakeDoors{
		policy:    serveFake(t, func(nc net.Conn) served { return wire.NewPolicyConn(nc, &cfg, fakeRule{}) }),
		socketmap: serveFake(t, func(nc net.Conn) served { return wire.NewSocketmapConn(nc, &cfg, fakeRule{}) }),
		table:     serveFake(t, func(nc net.Conn) served { return wire.NewTCPTableConn(nc, &cfg, fakeRule{}, "recipients") }),
		milter:    serveFake(t, func(nc net.Conn) served { return milter.NewConn(nc, filter) }),
	}
}

type fakeRule struct{}

func (fakeRule) Close() {}

func (fakeRule) Policy(r *wire.Request) (string, bool) {
	if strings.HasPrefix(r.Get("recipient"), "user") {
		return "DUNNO", true
	}
	return "550 5.1.1 User unknown", true
}

func (fakeRule) Lookup(name, key string) wire.MapAnswer {
	switch {
	case name == "sign":
		return wire.MapAnswer{Status: wire.OK, Text: "prvs=" + key}
	case name == "untag":
		return wire.MapAnswer{Status: wire.OK, Text: strings.TrimPrefix(key, "prvs=")}
	case strings.HasPrefix(key, "user"):
		return wire.MapAnswer{Status: wire.OK, Text: "OK"}
	}
	return wire.MapAnswer{Status: wire.NotFound}
}

// fakeFilter refuses as the others do, and inserts a field into messages.
type fakeFilter struct{}

func (fakeFilter) Connect(milter.Client) milter.Response { return milter.Response{} }
func (fakeFilter) Helo(string) milter.Response           { return milter.Response{} }
func (fakeFilter) Mail(string, []string) milter.Response { return milter.Response{} }
func (fakeFilter) Data() milter.Response                 { return milter.Response{} }
func (fakeFilter) Unknown(string) milter.Response        { return milter.Response{} }
func (fakeFilter) Abort()                                {}
func (fakeFilter) Close()                                {}
func (fakeFilter) Rcpt(to string, args []string) milter.Response {
	if strings.HasPrefix(to, "user") {
		return milter.Response{}
	}
	return milter.Response{Action: milter.Reply, Reply: mail.MustReply(550, "5.1.1", "User unknown")}
}

func (fakeFilter) Message(m *milter.Message) milter.Response {
	return milter.Response{Changes: &milter.Changes{Insert: []milter.Header{{Name: "X-Seen", Value: " yes"}}}}
}

// TestAskersTakeTheRightAnswers: each kind of asker, over connections that are kept and over such that come again.
func TestAskersTakeTheRightAnswers(t *testing.T) {
	f := startFakes(t)
	parcels := parcelsOf(inbound(), "i X-Seen: yes")
	for name, dial := range map[string]func() (asker, error){
		"policy":    func() (asker, error) { return dialPolicy(f.policy, allRecipients, 10) },
		"socketmap": func() (asker, error) { return dialSocketmap(f.socketmap, allRecipients, 10) },
		"maps":      func() (asker, error) { return dialMaps(f.socketmap, 10) },
		"table":     func() (asker, error) { return dialTable(f.table, allRecipients, 10) },
		"milter": func() (asker, error) {
			return dialMilter(f.milter, strangeClient, 10, refusedPlay, messagePlay(parcels), brokenPlay(parcels))
		},
	} {
		for _, dial := range []func() (asker, error){dial, renew(3, dial)} {
			p, err := openPool(2, dial)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var answers atomic.Int64
			if err := p.once(20, &answers); err != nil || answers.Load() != 40 {
				t.Errorf("%s: %d right answers of 40, %v", name, answers.Load(), err)
			}
			p.close()
		}
	}
}

// TestWrongAnswerEndsThePool: one wrong answer, and nobody asks any more.
func TestWrongAnswerEndsThePool(t *testing.T) {
	f := startFakes(t)
	var n atomic.Int64
	p, err := openPool(3, func() (asker, error) {
		a, err := dialPolicy(f.policy, listedUsers, 10)
		if n.Add(1) == 3 && err == nil {
			a.(*policyAsker).attrs = append(a.(*policyAsker).attrs[:attrRecipient], wire.Attr{Name: "other"}, wire.Attr{Name: "instance"})
		}
		return a, err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	err = p.run(context.Background(), time.Hour, new(atomic.Int64))
	if err == nil || !strings.Contains(err.Error(), `was answered "550 5.1.1 User unknown"`) {
		t.Errorf("got %v, want the answer", err)
	}
	parcels := parcelsOf(inbound())
	p, err = openPool(1, func() (asker, error) { return dialMilter(f.milter, strangeClient, 10, messagePlay(parcels)) })
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := p.once(1, new(atomic.Int64)); err == nil || !strings.Contains(err.Error(), "the message is changed") {
		t.Errorf("a change that was not to be: %v", err)
	}
}

func TestParcelIsTheLetter(t *testing.T) {
	p := parcelOf(&letter{"a@b.example", "c@d.example", []byte("A: one\r\n\ttwo\r\nB:x\r\n\r\nbody\r\n.\r\n")})
	if len(p.fields) != 2 || p.fields[0] != (milter.Header{Name: "A", Value: " one\n\ttwo"}) || p.fields[1] != (milter.Header{Name: "B", Value: "x"}) || string(p.body) != "body\r\n" {
		t.Errorf("%+v %q", p.fields, p.body)
	}
}

// TestWhomAsksOfAllKinds: all four in turn, and nobody unknown twice.
func TestWhomAsksOfAllKinds(t *testing.T) {
	w := newWhom(allRecipients, 10)
	seen := map[string]int{}
	for i := range 4 * numCached {
		to, exists := w.next()
		if exists != strings.HasPrefix(to, "user") {
			t.Errorf("%s exists: %v", to, exists)
		}
		if strings.HasPrefix(to, "nobody.") && strings.HasSuffix(to, "@"+listedDomain) {
			seen[to]++
		}
		if domain := domainOf(to); (domain == askedDomain) != (i%4 >= 2) {
			t.Errorf("number %d is %s", i, to)
		}
	}
	if len(seen) != numCached {
		t.Errorf("%d different strangers of %d", len(seen), numCached)
	}
}

// TestFloorIsAPolicyService: it answers in the protocol, whatever it is asked.
func TestFloorIsAPolicyService(t *testing.T) {
	addr := serveFake(t, func(nc net.Conn) served { return servedBy(func() { answerOne(nc) }) })
	p, err := openPool(2, func() (asker, error) { return dialPolicy(addr, listedStrangers, 10) })
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	var answers atomic.Int64
	if err := p.once(5, &answers); err != nil || answers.Load() != 10 {
		t.Errorf("%d answers of 10, %v", answers.Load(), err)
	}
}

type servedBy func()

func (f servedBy) Serve() { f() }
