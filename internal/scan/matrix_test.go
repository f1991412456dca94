package scan_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
	"backstop/internal/scan"
)

// products are the servers as a scan is to call them.
var products = map[string]string{"postfix": "Postfix", "exim": "Exim", "sendmail": "Sendmail", "opensmtpd": "OpenSMTPD"}

// expected is what each mode looks like without a message and with one.
var expected = map[rig.Mode]struct{ asked, sent, retry scan.Class }{
	rig.RefuseRcpt: {scan.RefusesAtRcpt, scan.RefusesAtRcpt, ""},
	rig.RefuseData: {scan.AcceptsUnknown, scan.RefusesAfterData, ""},
	rig.BounceLate: {scan.AcceptsUnknown, scan.AcceptsThenBounces, ""},
	rig.CatchAll:   {scan.AcceptsUnknown, scan.CatchAll, ""},
	rig.Greylist:   {scan.Greylists, scan.Greylists, scan.RefusesAtRcpt},
}

// TestMatrix: four real servers in every mode that they have, asked with and without a message.
func TestMatrix(t *testing.T) {
	for _, kind := range rig.Bouncers() {
		for _, mode := range rig.Modes(kind) {
			t.Run(kind+"/"+string(mode), func(t *testing.T) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				s := rig.StartScanned(t, kind, mode, l.Addr().String())
				want := expected[mode]
				r := scan.Run(t.Context(), planFor(t, s))
				check(t, s, kind, r, want.asked, want.retry)
				if s.Store != nil && len(s.Store.Messages()) > 0 {
					t.Errorf("mail arrived that was never to be sent: %v", s.Store.Messages())
				}
				if mode == rig.Greylist { // it has seen these triples, and new addresses are made for each scan
					return
				}
				p := planFor(t, s)
				p.Send, p.Listener, p.Wait = true, l, time.Minute
				p.ReturnPath = address(t, "back@scan.test")
				if mode != rig.CatchAll {
					p.Sleep = hurry
				} else {
					p.Sleep = func(ctx context.Context, why scan.Pause, d time.Duration) error {
						if why == scan.PauseBounce { // what is in the mailbox does not bounce any more
							s.Store.Wait(t, "the message", func(m *mailtest.Mock) bool { return len(m.Messages()) == 1 })
						}
						return ctx.Err()
					}
				}
				check(t, s, kind, scan.Run(t.Context(), p), want.sent, want.retry)
			})
		}
	}
}

// hurry lets no time pass but that for a bounce, which ends when it is there.
func hurry(ctx context.Context, why scan.Pause, _ time.Duration) error {
	if why == scan.PauseBounce {
		<-ctx.Done()
	}
	return ctx.Err()
}

func planFor(t *testing.T, s *rig.Scanned) scan.Plan {
	t.Helper()
	target, err := scan.ParseTarget("smtp://"+s.Addr, rig.Domain, "")
	if err != nil {
		t.Fatal(err)
	}
	return scan.Plan{Target: target, Helo: "scan.test", Sleep: hurry, Timeout: mailtest.Patience}
}

func address(t *testing.T, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// check compares one cell.
func check(t *testing.T, s *rig.Scanned, kind string, r scan.Report, class, retry scan.Class) {
	t.Helper()
	if r.Class != class || r.OnRetry != retry || r.Product != products[kind] {
		var talk strings.Builder
		for _, step := range r.Steps {
			talk.WriteString(step.Step + ": " + step.Sent + " -> " + step.Reply + "\n")
		}
		t.Errorf("%s %s %s, wanted %s %s\n%s\n%s\n%s", r.Product, r.Class, r.OnRetry, class, retry, strings.Join(r.Advice, "\n"), talk.String(), s.Log())
	}
	if r.Class == scan.AcceptsThenBounces && (len(r.Notices) == 0 || r.Notices[0].Client != "127.0.0.1" || !r.Notices[0].Ours) {
		t.Errorf("notices: %+v", r.Notices)
	}
	if n := connections(r); n > scan.MaxConnections {
		t.Errorf("%d connections", n)
	}
}

func connections(r scan.Report) (n int) {
	for _, s := range r.Steps {
		if s.Step == "connect" {
			n++
		}
	}
	return n
}
