package milter_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"backstop/internal/mail"
	"backstop/internal/milter"
)

// TestDrain: between transactions the connection ends at once, within one behind it.
func TestDrain(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		r := &recorder{}
		mta := start(t, r, milter.Config{}, milter.Offer{})
		must(t)(mta.Connect(client))
		r.conn.Drain()
		<-r.done
		wantLog(t, r, "connect mx.example.net 4 192.0.2.1:25", "close")
	})
	t.Run("before it is served", func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		c := milter.NewConn(far, &milter.Config{})
		c.Drain()
		c.Serve()
	})
	for _, how := range []string{"end", "abort", "refused"} {
		t.Run("in a transaction: "+how, func(t *testing.T) {
			r := &recorder{say: map[string]milter.Response{"rcpt <last@example.com>": {Action: milter.Discard}}}
			mta := start(t, r, milter.Config{}, milter.Offer{})
			ok := must(t)
			open(t, mta)
			r.conn.Drain()
			ok(mta.Rcpt("carol@example.com"))
			switch how {
			case "end":
				ok(mta.Data())
				ok(mta.Header("A", "b"))
				ok(mta.Body([]byte("text")))
				ok(mta.EndOfBody())
			case "abort":
				mta.Abort()
			default:
				ok(mta.Rcpt("last@example.com"))
			}
			<-r.done
			if _, err := mta.Mail("next@example.org"); err == nil {
				t.Error("it goes on")
			}
			if n := len(r.log); r.log[n-2] != "abort" || r.log[n-1] != "close" {
				t.Errorf("%q", r.log)
			}
		})
	}
}

// TestDrainAtNextMail: Postfix sends the ABORT of a RSET with the next MAIL, in one write. That MAIL begins nothing more.
func TestDrainAtNextMail(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	r := &recorder{}
	c := milter.NewConn(far, &milter.Config{NewHandler: func(*milter.Conn) milter.Handler { return r }})
	done := make(chan struct{})
	go func() { defer close(done); c.Serve() }()
	packet := func(command byte, data string) string {
		return string([]byte{0, 0, 0, byte(len(data) + 1), command}) + data
	}
	answer := make([]byte, 64)
	for _, p := range []string{
		packet('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff"), packet('C', "h\x004\x00\x19192.0.2.1\x00"), packet('M', "<a@b.example>\x00"),
	} {
		io.WriteString(near, p)
		if _, err := near.Read(answer); err != nil {
			t.Fatal(err)
		}
	}
	c.Drain()
	io.WriteString(near, packet('A', "")+packet('M', "<next@b.example>\x00"))
	if n, err := near.Read(answer); err == nil {
		t.Errorf("answered %q", answer[:n])
	}
	<-done
	if n := len(r.log); r.log[n-1] != "close" || r.log[n-2] != "abort" {
		t.Errorf("%q", r.log)
	}
}

// TestDrainAsMailBegins: a Drain that finds no transaction, while one is begun, does not end it.
func TestDrainAsMailBegins(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	c := milter.NewConn(far, &milter.Config{})
	if err := c.DrainedAtMail(); err != nil {
		t.Fatal(err)
	}
	go io.WriteString(near, "x")
	if _, err := far.Read(make([]byte, 1)); err != nil {
		t.Errorf("the transaction is cut off: %v", err)
	}
}

// TestLastRecipient: what takes or throws away the whole message ends its transaction at that recipient; a refusal does not.
func TestLastRecipient(t *testing.T) {
	for _, tc := range []struct {
		action milter.Action
		ends   bool
	}{{milter.Accept, true}, {milter.Discard, true}, {milter.Reject, false}, {milter.TempFail, false}, {milter.Continue, false}} {
		r := &recorder{say: map[string]milter.Response{"rcpt <bob@example.com>": {Action: tc.action}}}
		mta := start(t, r, milter.Config{}, milter.Offer{})
		open(t, mta)
		_, err := mta.Rcpt("carol@example.com")
		if (err != nil) != tc.ends {
			t.Errorf("%v: the next recipient: %v", tc.action, err)
		}
		over(t, r, mta)
		if last := r.log[len(r.log)-3]; tc.ends != (last == "rcpt <bob@example.com>") {
			t.Errorf("%v: %q", tc.action, r.log)
		}
	}
}

func TestPanic(t *testing.T) {
	for _, at := range []string{"connect", "helo", "mail", "rcpt", "data", "unknown", "message", "abort", "close"} {
		t.Run(at, func(t *testing.T) {
			var told []any
			r := &recorder{}
			r.see = func() string {
				if last := r.log[len(r.log)-1]; strings.HasPrefix(last, at) {
					panic("of " + at)
				}
				return ""
			}
			mta := start(t, r, milter.Config{Panic: func(v any, stack []byte) {
				if !strings.Contains(string(stack), "milter") {
					t.Errorf("stack: %s", stack)
				}
				told = append(told, v)
			}}, milter.Offer{})
			a, err := talk(mta)
			mta.Quit()
			<-r.done
			switch at {
			case "abort": // the answer was given before, and the second message finds nobody
				if a.Action != milter.Continue || err == nil {
					t.Errorf("%+v, %v", a, err)
				}
			case "close":
				if a.Action != milter.Continue || err != nil {
					t.Errorf("%+v, %v", a, err)
				}
			default:
				if a.Action != milter.TempFail || err != nil {
					t.Errorf("%+v, %v", a, err)
				}
			}
			if len(told) != 1 || told[0] != "of "+at {
				t.Errorf("told %v", told)
			}
			if last := r.log[len(r.log)-1]; last != "close" {
				t.Errorf("%q", r.log)
			}
		})
	}
}

// talk sends two messages, until something is said.
func talk(mta *milter.MTA) (milter.Answer, error) {
	steps := []func() (milter.Answer, error){
		func() (milter.Answer, error) { return mta.Connect(client) },
		func() (milter.Answer, error) { return mta.Helo("x") },
		func() (milter.Answer, error) { return mta.Unknown("x") },
	}
	for range 2 {
		steps = append(steps,
			func() (milter.Answer, error) { return mta.Mail("a@example.org") },
			func() (milter.Answer, error) { return mta.Rcpt("b@example.com") },
			func() (milter.Answer, error) { return mta.Data() },
			func() (milter.Answer, error) { return mta.Header("A", "b") },
			func() (milter.Answer, error) { return mta.EOH() },
			func() (milter.Answer, error) { return mta.Body([]byte("text")) },
			func() (milter.Answer, error) { return mta.EndOfBody() })
	}
	for _, f := range steps {
		if a, err := f(); err != nil || a.Action != milter.Continue {
			return a, err
		}
	}
	return milter.Answer{}, nil
}

// TestPanicOfTheMaker: a handler that cannot even be made.
func TestPanicOfTheMaker(t *testing.T) {
	near, far := net.Pipe()
	told := false
	c := milter.NewConn(far, &milter.Config{
		NewHandler: func(*milter.Conn) milter.Handler { panic("no") },
		Panic:      func(any, []byte) { told = true },
	})
	done := make(chan struct{})
	go func() { defer close(done); c.Serve() }()
	mta, err := milter.NewMTA(near, milter.Offer{})
	if err != nil {
		t.Fatal(err)
	}
	if a := must(t)(mta.Connect(client)); a.Action != milter.TempFail {
		t.Errorf("%+v", a)
	}
	<-done
	mta.Close()
	if !told {
		t.Error("nobody was told")
	}
}

// TestProgress: while a handler works behind the end of a body the MTA is told to wait, and never afterwards.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{message: func(m *milter.Message) milter.Response {
			io.Copy(io.Discard, m)
			time.Sleep(35 * time.Second)
			if err := m.Progress(); err != nil {
				t.Error(err)
			}
			return milter.Response{Action: milter.Reply, Reply: mail.MustReply(451, "4.3.0", "Later")}
		}}
		mta := start(t, r, milter.Config{}, milter.Offer{})
		for range 2 {
			ok := must(t)
			open(t, mta)
			if a := ok(mta.EndOfBody()); a.Progress != 4 || a.Code() != 451 {
				t.Errorf("%+v", a)
			}
			mta.QuitNC()
			time.Sleep(time.Minute)
		}
		must(t)(mta.Connect(client))
		over(t, r, mta)
	})
}

// TestTimeouts: an MTA that says nothing, and one that does not read.
func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		mta := start(t, r, milter.Config{Timeout: time.Hour}, milter.Offer{})
		ok := must(t)
		ok(mta.Connect(client))
		time.Sleep(55 * time.Minute)
		ok(mta.Helo("x"))
		time.Sleep(55 * time.Minute)
		ok(mta.Mail(""))
		time.Sleep(55 * time.Minute)
		begin := time.Now()
		<-r.done
		if d := time.Since(begin); d > 6*time.Minute {
			t.Errorf("it ended after %s more", d)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		mta := start(t, r, milter.Config{}, milter.Offer{})
		must(t)(mta.Connect(client))
		if err := mta.Raw('H', []byte("x\x00")); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		<-r.done // though nobody reads the answer
		if d := time.Since(begin); d > time.Minute {
			t.Errorf("it ended after %s", d)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		r := &recorder{message: func(m *milter.Message) milter.Response {
			io.Copy(io.Discard, m)
			<-gone
			if m.Progress() == nil {
				t.Error("nobody noticed that the MTA is gone")
			}
			time.Sleep(15 * time.Second)
			return milter.Response{}
		}}
		mta := start(t, r, milter.Config{}, milter.Offer{})
		open(t, mta)
		if err := mta.Raw('E', nil); err != nil {
			t.Fatal(err)
		}
		mta.Close()
		close(gone)
		<-r.done
	})
}

// TestMany: a thousand connections at once, each with a message, on real sockets.
func TestMany(t *testing.T) {
	const conns = 1000
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	cfg := &milter.Config{Steps: usual, Actions: everything}
	cfg.NewHandler = func(*milter.Conn) milter.Handler {
		return &recorder{say: map[string]milter.Response{"message": {Changes: &milter.Changes{Insert: []milter.Header{{Name: "X", Value: " y"}}}}}}
	}
	served.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(milter.NewConn(nc, cfg).Serve)
		}
	})
	mtas := make([]*milter.MTA, conns)
	for i := range mtas {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if mtas[i], err = milter.NewMTA(nc, milter.Offer{}); err != nil {
			t.Fatal(err)
		}
		if _, err := mtas[i].Connect(client); err != nil {
			t.Fatal(err)
		}
	}
	body := []byte(strings.Repeat("text\r\n", 2000))
	var wg sync.WaitGroup
	for _, mta := range mtas {
		wg.Go(func() {
			defer mta.Quit()
			if a, err := mail1(mta, body); err != nil || a.Action != milter.Continue || len(a.Changes) != 1 {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
	wg.Wait()
	l.Close()
	served.Wait()
}

// mail1 sends one message on an open connection.
func mail1(mta *milter.MTA, body []byte) (milter.Answer, error) {
	_, e1 := mta.Mail("ann@example.org", "SIZE=1000")
	_, e2 := mta.Rcpt("bob@example.com")
	_, e3 := mta.Data()
	_, e4 := mta.Header("Subject", " hello")
	_, e5 := mta.EOH()
	_, e6 := mta.Body(body)
	a, e7 := mta.EndOfBody()
	return a, errors.Join(e1, e2, e3, e4, e5, e6, e7)
}
