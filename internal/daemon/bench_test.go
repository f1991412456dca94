package daemon_test

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/daemon"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// BenchmarkRefusal is one recipient refused by a list, written down and counted, without the wire.
func BenchmarkRefusal(b *testing.B) {
	file := filepath.Join(b.TempDir(), "list")
	var list strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&list, "user%d\n", i)
	}
	if err := os.WriteFile(file, []byte(list.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	cfg := parse(b, "[smtp]\n[[domain]]\nname = \"example.com\"\nrelay = \"smtp://127.0.0.1:9\"\nrecipients = [\"list:"+file+"\"]\n")
	d, err := daemon.New(cfg, daemon.Options{LogTo: io.Discard, Offline: true})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Stop(context.Background())
	s := d.Engine().Begin(context.Background(), evidence.DoorSMTP, evidence.Client{Addr: netip.MustParseAddr("192.0.2.1")})
	defer s.Close()
	s.Helo("client.example", "ESMTP", false)
	b.ReportAllocs()
	line := "<nobody17@example.com>"
	var out []byte
	for b.Loop() {
		s.Mail(mail.ReversePath{}, smtp.MailParams{})
		for range 5 {
			to, _, err := mail.ParsePath(strings.Clone(line), false)
			if err != nil {
				b.Fatal(err)
			}
			v := s.Rcpt(to, smtp.RcptParams{})
			out = v.Reply.AppendWire(out[:0])
		}
	}
}
