package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"backstop/internal/auth"
	"backstop/internal/dkim"
	"backstop/internal/evidence"
)

// A key in test mode signs nothing (RFC 6376, 3.6.1): no message passes by it.
func TestTestMode(t *testing.T) {
	key, record := signer(t, "example.org", "s1", false)
	w := newWorld(t, dmarcZone+strings.Replace(record, "v=DKIM1;", "v=DKIM1; t=y;", 1), enough)
	header, body := signed(t, "alice@example.org", key)
	found := w.dkim(t, header, body)
	if d := w.dmarcOf(t, header, found); found[0].Result != evidence.Neutral || d.Result != evidence.Fail || d.Aligned {
		t.Errorf("%+v, DMARC %+v", found, d)
	}
}

// telling is a DNS whose errors say all that they know.
type telling struct{ err error }

func (r telling) LookupTXT(context.Context, string) ([]string, error) { return nil, r.err }
func (r telling) LookupMX(context.Context, string) ([]*net.MX, error) { return nil, r.err }
func (r telling) LookupIPAddr(context.Context, string) ([]net.IPAddr, error) {
	return nil, r.err
}
func (r telling) LookupAddr(context.Context, string) ([]string, error) { return nil, r.err }

// What a detail says everybody reads who gets the message, and whoever it is forwarded to: not which resolver is asked.
func TestNoServerIsTold(t *testing.T) {
	key, _ := signer(t, "example.org", "s1", false)
	header, body := signed(t, "alice@example.org", key)
	full := &net.DNSError{Err: "server misbehaving", Name: "x.example", Server: "192.0.2.53:53", IsTemporary: true}
	for name, err := range map[string]error{
		"as it should be": full,
		"wrapped":         fmt.Errorf("asking: %w", full),
		"of the system":   &net.OpError{Op: "read", Net: "udp", Addr: net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.53:53")), Err: errors.New("connection refused")},
		"too late":        fmt.Errorf("asking 192.0.2.53: %w", context.DeadlineExceeded),
	} {
		c := auth.New(auth.Config{Resolver: telling{err}})
		v := dkim.NewVerifier([]byte(header))
		v.Write([]byte(body))
		spf, signatures := c.SPF(t.Context(), netip.MustParseAddr("198.51.100.1"), "h.example", sender(t, "alice@example.org")), c.DKIM(t.Context(), v)
		d := c.DMARC(t.Context(), []byte(header), spf, signatures, sender(t, "alice@example.org"))
		for _, r := range []struct {
			result evidence.Result
			detail string
		}{{spf.Result, spf.Detail}, {signatures[0].Result, signatures[0].Detail}, {d.Result, d.Detail}} {
			if r.result != evidence.TempError || r.detail == "" || strings.Contains(r.detail, "192.0.2.53") {
				t.Errorf("%s: %v, %q", name, r.result, r.detail)
			}
		}
	}
}

// Mallory and her victim have their mailboxes at one provider. What it signed for her to herself she sends
// again, from elsewhere, in the victim's name: the letter is hers as DMARC has it, and nothing shows that the victim wrote,
// who would get the bounce.
func TestReplay(t *testing.T) {
	key, record := signer(t, "freemail.test", "s1", false)
	w := newWorld(t, "_dmarc.freemail.test TXT \"v=DMARC1; p=reject\"\nfreemail.test TXT \"v=spf1 ip4:192.0.2.1 -all\"\n"+record, enough)
	elsewhere := netip.MustParseAddr("198.51.100.66")
	for _, tc := range []struct {
		from, sender string
		aligned      bool
	}{
		{"mallory@freemail.test", "victim@freemail.test", false},
		{"\"victim@freemail.test\" <mallory@freemail.test>", "victim@freemail.test", false},
		{"mallory@freemail.test, victim@freemail.test", "victim@freemail.test", false},
		{"victim@freemail.test <mallory@freemail.test>", "victim@freemail.test", false},
		{"=?utf-8?q?=3Cvictim=40freemail.test=3E?= <mallory@freemail.test>", "victim@freemail.test", false},
		{"mallory@freemail.test", "mallory@freemail.test", true}, // a forwarder sends it on as it is
		{"mallory@freemail.test", "", false},
	} {
		header, body := signed(t, tc.from, key)
		spf := w.check.SPF(t.Context(), elsewhere, "mallory.test", sender(t, tc.sender))
		d := w.check.DMARC(t.Context(), []byte(header), spf, w.dkim(t, header, body), sender(t, tc.sender))
		if tc.sender != "" && spf.Result != evidence.Fail || d.Result != evidence.Pass || d.Aligned != tc.aligned {
			t.Errorf("From: %s, sent by <%s>: SPF %v, DMARC %+v, want aligned %v", tc.from, tc.sender, spf.Result, d, tc.aligned)
		}
	}
}
