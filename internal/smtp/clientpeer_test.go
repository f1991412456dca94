package smtp_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"net"
	"path/filepath"
	"sync"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/smtp"
)

// peer is an independent server, on the go-smtp library.
type peer struct {
	mu     sync.Mutex
	from   string
	opts   gosmtp.MailOptions
	to     []string
	ropts  []gosmtp.RcptOptions
	bodies [][]byte
}

func (p *peer) Reset()        {}
func (p *peer) Logout() error { return nil }
func (p *peer) Mail(from string, o *gosmtp.MailOptions) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.from, p.opts, p.to, p.ropts = from, *o, nil, nil
	return nil
}

func (p *peer) Rcpt(to string, o *gosmtp.RcptOptions) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if to == "nobody@d.example" {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "User unknown"}
	}
	p.to, p.ropts = append(p.to, to), append(p.ropts, *o)
	return nil
}

func (p *peer) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bodies = append(p.bodies, b)
	return nil
}

func startPeer(t testing.TB, network string, change func(*gosmtp.Server)) (p *peer, dial func() net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(mailtest.Dir(t), "s")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	p = &peer{}
	s := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return p, nil }))
	s.Domain, s.EnableSMTPUTF8, s.EnableBINARYMIME, s.EnableDSN = "peer.test", true, true, true
	s.ErrorLog = log.New(io.Discard, "", 0)
	if change != nil {
		change(s)
	}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ln) }()
	t.Cleanup(func() { s.Close(); <-done })
	return p, func() net.Conn {
		nc, err := net.Dial(network, ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		return nc
	}
}

func TestClientPeer(t *testing.T) {
	ca := mailtest.NewAuthority(t)
	encrypted := func(s *gosmtp.Server) {
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "peer.test")}}
	}
	lmtp := func(s *gosmtp.Server) { s.LMTP = true }
	for name, c := range map[string]struct {
		network string
		change  func(*gosmtp.Server)
		cfg     smtp.ClientConfig
		chunked bool
	}{
		"DATA":               {"tcp", nil, smtp.ClientConfig{}, false},
		"BDAT":               {"tcp", nil, smtp.ClientConfig{}, true},
		"lock-step":          {"tcp", nil, smtp.ClientConfig{NoPipelining: true}, false},
		"TLS, unchecked":     {"tcp", encrypted, smtp.ClientConfig{}, false},
		"TLS, checked, BDAT": {"tcp", encrypted, smtp.ClientConfig{TLS: smtp.TLSRequire, ServerName: "peer.test", TLSConfig: &tls.Config{RootCAs: ca.Pool()}}, true},
		"LMTP over TCP":      {"tcp", lmtp, smtp.ClientConfig{LMTP: true}, false},
		"LMTP over a socket": {"unix", lmtp, smtp.ClientConfig{LMTP: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, dial := startPeer(t, c.network, c.change)
			c.cfg.LocalName = "gate.test"
			cl, err := smtp.NewClient(t.Context(), dial(), c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if cl.Capabilities().TLS != (name[:3] == "TLS") {
				t.Errorf("%+v", cl.Capabilities())
			}
			for i, size := range []int{64, 4 << 10, 64 << 10, 300 << 10} {
				body := mailtest.Generate(uint64(i), size, mailtest.EightBit)
				exchange(t, cl, c.chunked, body)
				if got := p.bodies[len(p.bodies)-1]; !bytes.Equal(got, body) {
					t.Errorf("%d octets sent, others arrived (%d)", len(body), len(got))
				}
			}
			if p.from != "föö@b.example" || !p.opts.UTF8 || p.opts.EnvelopeID != "e+1" || p.opts.Return != gosmtp.DSNReturnHeaders {
				t.Errorf("%q %+v", p.from, p.opts)
			}
			if len(p.to) != 1 || p.to[0] != "bär@d.example" || len(p.ropts[0].Notify) != 2 {
				t.Errorf("%q %+v", p.to, p.ropts)
			}
			if !cl.Idle() {
				t.Error("not idle between transactions")
			}
			if err := cl.Quit(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// exchange sends one message to one recipient that is known and one that is not.
func exchange(t *testing.T, c *smtp.Client, chunked bool, body []byte) {
	t.Helper()
	b := c.Batch()
	b.Reset()
	b.Mail(mail.ReversePath{Address: path(t, "föö@b.example")}, smtp.MailParams{Size: int64(len(body)), Body: smtp.Body8BitMIME, UTF8: true, Ret: "HDRS", EnvID: "e+2B1"})
	b.Rcpt(path(t, "nobody@d.example"), smtp.RcptParams{})
	b.Rcpt(path(t, "bär@d.example"), smtp.RcptParams{Notify: "SUCCESS,FAILURE"})
	rs, err := b.Do(t.Context())
	if err != nil || len(rs) != 4 || rs[1].Code != 250 || rs[3].Code != 250 {
		t.Fatalf("%+v, %v", rs, err)
	}
	if rs[2].Code != 550 || smtp.ClassifyRcpt(&rs[2]) != smtp.RcptMissing || rs[2].Text() != "User unknown" {
		t.Errorf("%+v", rs[2])
	}
	send := c.SendBDAT
	if !chunked {
		data(t, c)
		send = c.SendData
	}
	if resp, err := send(t.Context(), nil, bytes.NewReader(body)); err != nil || resp.Code != 250 {
		t.Fatalf("%+v, %v", resp, err)
	}
}

// TestClientOwnServer holds the two ends of this package against each other, since both are used that way.
func TestClientOwnServer(t *testing.T) {
	k := newTaker()
	k.refuse = map[string]mail.Reply{"nobody@d.example": mail.MustReply(550, "5.1.1", "User unknown")}
	addr := serve(t, k, nil)
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.NewClient(t.Context(), nc, smtp.ClientConfig{LocalName: "gate.test"})
	if err != nil {
		t.Fatal(err)
	}
	for i, chunked := range []bool{false, true} {
		body := mailtest.Generate(uint64(i), 200<<10, mailtest.EightBit)
		exchange(t, c, chunked, body)
		if got := k.taken()[i]; got != string(body) {
			t.Errorf("chunked %v: another body arrived", chunked)
		}
	}
	c.Quit(t.Context())
	<-k.closed
}
