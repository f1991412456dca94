package scan

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"backstop/internal/mailtest"
)

// TestBouncesAndGreylist: where bounces are refused as such and all others are put off at first, the retry decides.
func TestBouncesAndGreylist(t *testing.T) {
	for name, c := range map[string]struct {
		put   int // how many answers
		retry Class
	}{"decided on the retry": {3, AcceptsUnknown}, "put off for good": {1000, ""}} {
		for _, said := range []string{"550 5.1.1 no such recipient here", "550 5.7.1 unsigned notification"} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := plan(t, "192.0.2.25:25")
					n := 0
					p.Dial = pipe(t, func(_ int, nc net.Conn) {
						null := false
						lines(nc, func(line string) (string, time.Duration) {
							if strings.HasPrefix(line, "MAIL") {
								null = strings.Contains(line, "<>")
							}
							switch {
							case strings.HasPrefix(line, "RCPT") && null:
								return said, 0
							case strings.HasPrefix(line, "RCPT") && strings.Contains(line, "@example.org"):
								return refuseThem, 0
							case strings.HasPrefix(line, "RCPT"):
								if n++; n <= c.put {
									return "451 4.7.1 Greylisted", 0
								}
								return "250 2.1.5 Ok", 0
							}
							return healthy(line), 0
						})
					})
					r := Run(t.Context(), p)
					if r.Class != Greylists || r.Health == Healthy || c.retry == "" && r.OnRetry != "" {
						t.Error(show(r))
					}
				})
			})
		}
	}
}

// TestRelayUnknown: where it cannot be found out whether it relays, nothing is sent, and that is said.
func TestRelayUnknown(t *testing.T) {
	for name, rules := range map[string][]mailtest.Rule{
		"broken": {{On: "RCPT", Match: regexp.MustCompile(foreign), Hangup: true}},
		"421":    {{On: "RCPT", Match: regexp.MustCompile(foreign), Reply: "421 4.7.0 enough", Hangup: true}},
		"450":    {rule("RCPT", foreign, "450 4.2.0 later")},
	} {
		t.Run(name, func(t *testing.T) {
			m := mailtest.NewMock(t, mailtest.Script{Rules: rules})
			p := sending(t, m.Addr())
			p.Dial = dialOutside
			r := Run(t.Context(), p)
			m.WaitIdle(t)
			text := strings.Join(r.Advice, "\n")
			if r.Class != AcceptsUnknown && r.OnRetry != AcceptsUnknown || !strings.Contains(text, "(an open relay)") || !strings.Contains(text, "No message was sent") {
				t.Error(show(r))
			}
			polite(t, m)
		})
	}
	m := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{{On: "RCPT", Match: regexp.MustCompile(foreign), Reply: "450 4.2.0 later", Times: 1}, rule("RCPT", foreign, refuseThem)}})
	p := sending(t, m.Addr())
	p.Dial, p.Wait = dialOutside, 0
	p.Sleep = func(ctx context.Context, _ Pause, _ time.Duration) error { return ctx.Err() }
	if r := Run(t.Context(), p); r.OnRetry != CatchAll || len(m.Messages()) != 1 {
		t.Errorf("%d messages, %s", len(m.Messages()), show(r))
	}
}

// TestFlood: the bounce is found among more of others' bounces than are kept.
func TestFlood(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{rule("RCPT", foreign, refuseThem)}})
	p := sending(t, m.Addr())
	p.Sleep = func(ctx context.Context, why Pause, _ time.Duration) error {
		if why == PauseBounce {
			for range maxNotices + 5 {
				bring(t, p.Listener.Addr().String(), "", strings.ReplaceAll(dsn("failed", "5.1.1"), "%s", "<other@x.test>"))
			}
			id := regexp.MustCompile(`(?i)Message-ID: (<.*>)`).FindSubmatch(m.Messages()[0].Body)[1]
			bring(t, p.Listener.Addr().String(), "", strings.ReplaceAll(dsn("failed", "5.1.1"), "%s", string(id)))
		}
		return ctx.Err()
	}
	r := Run(t.Context(), p)
	if r.Class != AcceptsThenBounces || len(r.Notices) != maxNotices+1 || !strings.Contains(strings.Join(r.Advice, "\n"), "22 more messages came there") {
		t.Errorf("%d notices, %s", len(r.Notices), show(r))
	}
}

// TestNothingConnected: where nobody came to the return path, it is said that no bounce could be seen.
func TestNothingConnected(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{rule("RCPT", foreign, refuseThem)}})
	p := sending(t, m.Addr())
	p.Sleep = func(ctx context.Context, _ Pause, _ time.Duration) error { return ctx.Err() }
	if r := Run(t.Context(), p); r.Class != CatchAll || !strings.Contains(r.Advice[0], "nothing at all connected to --listen") {
		t.Error(show(r))
	}
}

// TestWantsTLS: a server that takes no mail without TLS is asked with it.
func TestWantsTLS(t *testing.T) {
	cert := mailtest.NewAuthority(t).Issue(t, "mx.example.com")
	p := plan(t, "192.0.2.25:25")
	p.Dial = pipe(t, func(_ int, nc net.Conn) {
		in, dark := bufio.NewScanner(nc), false
		io.WriteString(nc, "220 mx.example.com ESMTP\r\n")
		for in.Scan() {
			line := in.Text()
			text := healthy(line)
			switch {
			case strings.HasPrefix(line, "EHLO"):
				text = "250-mx.example.com\r\n250 STARTTLS"
			case line == "STARTTLS":
				io.WriteString(nc, "220 2.0.0 go\r\n")
				t := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{cert}})
				nc, in, dark = t, bufio.NewScanner(t), true
				continue
			case strings.HasPrefix(line, "MAIL") && !dark:
				text = "530 5.7.0 Must issue a STARTTLS command first"
			}
			if _, err := io.WriteString(nc, text+"\r\n"); err != nil || line == "QUIT" {
				return
			}
		}
	})
	r := Run(t.Context(), p)
	if r.Class != RefusesAtRcpt || !strings.Contains(strings.Join(r.Advice, "\n"), "It takes no mail without TLS (530 5.7.0") {
		t.Error(show(r))
	}
	said := show(r)
	if !strings.Contains(said, "rcpt: RCPT TO:<postmaster@example.com> -> 250 2.0.0 Ok") || !strings.Contains(said, "mail: MAIL FROM:<> -> 250") {
		t.Errorf("the steps lack what went encrypted: %s", said)
	}
}

// TestHubNotAsked: nothing is said of a port that was never tried.
func TestHubNotAsked(t *testing.T) {
	f := facts{host: "mx.example.com:25", found: true, spent: true, banner: "220 mx.example.com Microsoft ESMTP MAIL Service ready"}
	s := scanner{Plan: plan(t, "192.0.2.25:25"), f: f, used: MaxConnections, at: place{"mx.example.com", "192.0.2.25:25"}}
	s.f.port = "25"
	s.otherPort(t.Context())
	if s.f.hubAsked || s.f.noteHub() != "" {
		t.Error(s.f.noteHub())
	}
	s.used = 5
	s.Sleep, s.Dial = hurry, func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") }
	if s.otherPort(t.Context()); !s.f.hubAsked {
		t.Error("it was tried")
	}
}

// TestNeighbour: a server of a network that this machine is in may take us for one of its own.
func TestNeighbour(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	p := plan(t, m.Addr())
	p.Dial = dialOutside
	p.Networks = func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }
	if r := Run(t.Context(), p); r.Class != AcceptsUnknown || !strings.Contains(strings.Join(r.Advice, "\n"), "usual for an address of its own network") {
		t.Error(show(r))
	}
	if len(networks()) == 0 {
		t.Error("this machine has no network")
	}
}

// TestShort: what is cut is cut between characters.
func TestShort(t *testing.T) {
	for n := range 12 {
		s := strings.Repeat("x", n) + strings.Repeat("ü€", 100)
		if got := plain(s); !utf8.ValidString(got) || len(got) > 200 || len(got) < 197 {
			t.Errorf("%q", got)
		}
		if got := reason(fmt.Errorf("%s%s", s, s)); !utf8.ValidString(got) {
			t.Errorf("%q", got)
		}
	}
}

// TestInterruptedLater: what was seen before an interruption is told, and that a message was sent.
func TestInterruptedLater(t *testing.T) {
	for at, says := range map[Pause]string{PauseRetry: "It was not asked again", PauseBounce: "One message had been sent, to "} {
		rules := []mailtest.Rule{rule("RCPT", foreign, refuseThem)}
		if at == PauseRetry {
			rules = append(rules, rule("RCPT", "", "451 4.7.1 Greylisted"))
		}
		m := mailtest.NewMock(t, mailtest.Script{Rules: rules})
		p := sending(t, m.Addr())
		ctx, cancel := context.WithCancel(t.Context())
		p.Sleep = func(ctx context.Context, why Pause, _ time.Duration) error {
			if why == at {
				cancel()
			}
			return ctx.Err()
		}
		r := Run(ctx, p)
		if r.Class == CatchAll || r.Class == RefusesProbe || r.Health == Healthy || !strings.Contains(strings.Join(r.Advice, "\n"), says) {
			t.Error(show(r))
		}
		cancel()
	}
}
