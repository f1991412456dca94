package daemon_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/mailtest"
)

// relayTo is a configuration with one domain, example.com, and its relay's URL.
func relayTo(url string, smtp, domain string) string {
	return "[smtp]\n" + smtp + "\n[[domain]]\nname = \"example.com\"\nrelay = \"" + url + "\"\n" + domain + "\n"
}

// eventually looks again and again until done says so, and fails the test when that
// takes longer than mailtest.Patience. It is for what happens in other processes, or
// behind a log, where nothing can be waited for.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(mailtest.Patience)
	defer deadline.Stop()
	again := time.NewTicker(3 * time.Millisecond)
	defer again.Stop()
	for !done() {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// logged waits until one line of the gateway's log has all of these.
func (g *gateway) logged(t testing.TB, parts ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("a log line with %q", parts), func() bool {
		for line := range strings.Lines(g.log.String()) {
			all := true
			for _, p := range parts {
				all = all && strings.Contains(line, p)
			}
			if all {
				return true
			}
		}
		return false
	})
}

// open connects and says EHLO.
func open(t testing.TB, addr string) *mailtest.Talk {
	t.Helper()
	k := mailtest.Dial(t, addr)
	k.Expect(t, "220", "banner")
	say(t, k, "EHLO client.example", "250")
	return k
}

// openFrom is open from another loopback address.
func openFrom(t testing.TB, addr, source string) *mailtest.Talk {
	t.Helper()
	k := dialFrom(t, addr, source)
	k.Expect(t, "220", "banner")
	say(t, k, "EHLO client.example", "250")
	return k
}

func dialFrom(t testing.TB, addr, source string) *mailtest.Talk {
	t.Helper()
	d := net.Dialer{Timeout: mailtest.Patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	nc, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return mailtest.NewTalk(nc)
}

// say plays command and reply in turns; a reply is written as in a dialogue file.
func say(t testing.TB, k *mailtest.Talk, turns ...string) {
	t.Helper()
	for i := 0; i < len(turns); i += 2 {
		if err := k.Send(turns[i] + "\r\n"); err != nil {
			t.Fatalf("%s: %v", turns[i], err)
		}
		k.Expect(t, turns[i+1], turns[i])
	}
}

// hello is a short message of its own kind.
func hello(id string) string { return "Subject: " + id + "\r\n\r\nHello, " + id + ".\r\n" }

// send carries one message to one recipient through an open conversation, and
// wants the last reply to be as given.
func send(t testing.TB, k *mailtest.Talk, from, to, body, final string) {
	t.Helper()
	say(t, k, "MAIL FROM:<"+from+">", "250", "RCPT TO:<"+to+">", "250", "DATA", "354", body+".", final)
}

// clock is a clock that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// one waits for exactly one message at the mock and returns it.
func one(t testing.TB, m *mailtest.Mock) mailtest.Message {
	t.Helper()
	m.Wait(t, "a message", func(m *mailtest.Mock) bool { return len(m.Messages()) > 0 })
	all := m.Messages()
	if len(all) != 1 || !all[0].Kept {
		t.Fatalf("one message should be held: %v", all)
	}
	return all[0]
}

// port is the port of an address.
func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// stop ends a gateway before its test does.
func stop(t testing.TB, g *gateway) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), mailtest.Patience)
	defer cancel()
	if err := g.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// dialNet connects, for goroutines that must not end the test themselves.
func dialNet(addr string) (net.Conn, error) { return net.DialTimeout("tcp", addr, mailtest.Patience) }
