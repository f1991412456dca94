package relay_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
	"backstop/internal/relay"
	"backstop/internal/smtp"
)

var login = &smtp.Auth{Username: "gate", Password: "opensesame"}

// TestAuthOnce: a connection logs in when it is made, and serves many messages.
func TestAuthOnce(t *testing.T) {
	ca := mailtest.NewAuthority(t)
	for _, server := range []*tls.Config{nil, {Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1")}}} {
		m := mailtest.NewMock(t, mailtest.Script{Logins: map[string]string{"gate": "opensesame"}, TLS: server})
		d := down(t, m, "", func(o *relay.Options) { o.Auth = login })
		body := []byte("Subject: x\r\n\r\nx\r\n")
		for range 3 {
			pass(t, d, body)
		}
		checkHeld(t, m, body, body, body)
		if got := m.Messages()[2]; got.Login != "gate" || m.Asked("AUTH") != 1 || len(m.Wires()) != 1 {
			t.Errorf("%v, asked %q", got, m.Commands())
		}
		m.Hangup() // and the next one logs in again
		m.WaitIdle(t)
		pass(t, d, body)
		if m.Asked("AUTH") != 2 {
			t.Errorf("asked %q", m.Commands())
		}
	}
}

// TestAuthRefused: whatever is wrong with the login is our matter: the mail waits, and the
// operator is told, without the password.
func TestAuthRefused(t *testing.T) {
	known := map[string]string{"gate": "opensesame"}
	for name, c := range map[string]struct {
		script  mailtest.Script
		outcome evidence.Outcome
		code    int
		says    string
	}{
		"wrong":        {mailtest.Script{Logins: map[string]string{"gate": "other"}}, refused, 535, "535 Wrong user name"},
		"not now":      {mailtest.Script{Logins: known, Rules: []mailtest.Rule{{On: "AUTH", Reply: "454 4.7.0 Later"}}}, deferred, 454, "454 Later"},
		"none offered": {mailtest.Script{}, unreachable, 0, "offers no AUTH"},
		"lost":         {mailtest.Script{Logins: known, Rules: []mailtest.Rule{{On: "AUTH", Hangup: true}}}, unreachable, 0, "at auth: EOF"},
	} {
		m := mailtest.NewMock(t, c.script)
		var log bytes.Buffer
		d := down(t, m, "", func(o *relay.Options) { o.Auth, o.Logger = login, slog.New(slog.NewTextHandler(&log, nil)) })
		tx := d.Begin(t.Context(), envelope(t))
		a := tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain)
		want(t, a, c.outcome, evidence.StepAuth, c.code)
		tx.Abort()
		if !a.NotReached() {
			t.Errorf("%s: taken for a word about the recipient: %+v", name, a)
		}
		told := log.String() + d.State().LastError + a.Text
		if !strings.Contains(log.String(), c.says) || !strings.Contains(d.State().LastError, c.says) || d.State().Up {
			t.Errorf("%s: %s%+v", name, log.String(), d.State())
		}
		if strings.Contains(told, "opensesame") || strings.Contains(told, base64.StdEncoding.EncodeToString([]byte("opensesame"))) {
			t.Errorf("%s: the password is told: %s", name, told)
		}
	}
}

// TestAuthBrokenTLS: without a login plain text would follow, with one nothing does.
func TestAuthBrokenTLS(t *testing.T) {
	ca := mailtest.NewAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1")}, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.CurveP521}}
	m := mailtest.NewMock(t, mailtest.Script{TLS: server, Logins: map[string]string{"gate": "opensesame"}})
	d := down(t, m, "", func(o *relay.Options) {
		o.Auth, o.TLSConfig = login, &tls.Config{MaxVersion: tls.VersionTLS12}
	})
	tx := d.Begin(t.Context(), envelope(t))
	want(t, tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain), unreachable, evidence.StepStartTLS, 0)
	tx.Abort()
	if m.Asked("AUTH") != 0 || len(m.Wires()) != 1 {
		t.Errorf("%q", m.Commands())
	}
}

// doorman is a server in memory that knows a password, or another one later.
type doorman struct {
	password atomic.Value
	dialled  atomic.Int32
}

// near is a connection that stays on this machine.
type near struct{ net.Conn }

func (near) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }

func (k *doorman) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	k.dialled.Add(1)
	go func() {
		defer theirs.Close()
		r := bufio.NewReader(theirs)
		for answer := "220 hi\r\n"; ; {
			if _, err := io.WriteString(theirs, answer); err != nil {
				return
			}
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			answer = "250 ok\r\n"
			switch verb, _, _ := strings.Cut(line, " "); verb {
			case "EHLO":
				answer = "250-hi\r\n250 AUTH PLAIN\r\n"
			case "AUTH":
				if answer = "535 5.7.8 no\r\n"; strings.Contains(line, base64.StdEncoding.EncodeToString([]byte("\x00gate\x00"+k.password.Load().(string)))) {
					answer = "235 2.7.0 yes\r\n"
				}
			}
		}
	}()
	return near{ours}, nil
}

// TestAuthPause: a server that refuses our login is not asked again with every message.
func TestAuthPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k doorman
		k.password.Store("another")
		d := downAt(t, "smtp://mx.test", func(o *relay.Options) { o.Auth, o.Dial = login, k.dial })
		ask := func() evidence.Answer {
			tx := d.Begin(t.Context(), envelope(t))
			defer tx.Abort()
			return tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain)
		}
		for range 50 {
			want(t, ask(), refused, evidence.StepAuth, 535)
			time.Sleep(time.Second) // in the bubble's time
		}
		if n := k.dialled.Load(); n != 1 {
			t.Errorf("%d logins within a minute", n)
		}
		k.password.Store("opensesame")
		time.Sleep(11 * time.Second)
		want(t, ask(), accepted, evidence.StepRcpt, 250)
		want(t, ask(), accepted, evidence.StepRcpt, 250)
		d.Close()
		synctest.Wait()
	})
}

// deputy answers a Postfix in the place of Dovecot's authentication (auth protocol 1.2).
type deputy struct {
	path string
	mu   sync.Mutex
	by   []string // the mechanisms used
}

func startDeputy(t *testing.T) *deputy {
	t.Helper()
	d := &deputy{path: filepath.Join(mailtest.Dir(t), "auth")}
	ln, err := net.Listen("unix", d.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(d.path, 0o666); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { d.serve(nc) })
			t.Cleanup(func() { nc.Close() })
		}
	})
	t.Cleanup(func() { ln.Close() })
	return d
}

func (d *deputy) serve(nc net.Conn) {
	defer nc.Close()
	io.WriteString(nc, "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00112233445566778899aabbccddeeff\nDONE\n")
	said := map[string][]string{} // for LOGIN, by request
	for lines := bufio.NewScanner(nc); lines.Scan(); {
		f := strings.Split(lines.Text(), "\t")
		if len(f) < 3 || f[0] != "AUTH" && f[0] != "CONT" {
			continue
		}
		response := ""
		if f[0] == "AUTH" {
			d.mu.Lock()
			d.by = append(d.by, f[2])
			d.mu.Unlock()
			for _, p := range f[3:] {
				if r, ok := strings.CutPrefix(p, "resp="); ok {
					response = r
				}
			}
		} else {
			response = f[2]
			said[f[1]] = append(said[f[1]], response)
		}
		text, _ := base64.StdEncoding.DecodeString(response) // what is none is nobody's password
		switch {
		case string(text) == "\x00gate\x00opensesame", len(said[f[1]]) == 2 && said[f[1]][1] == base64.StdEncoding.EncodeToString([]byte("opensesame")):
			fmt.Fprintf(nc, "OK\t%s\tuser=gate\n", f[1])
		case response == "" || len(said[f[1]]) == 1:
			fmt.Fprintf(nc, "CONT\t%s\tVXNlcm5hbWU6\n", f[1])
		default:
			fmt.Fprintf(nc, "FAIL\t%s\tuser=gate\n", f[1])
		}
	}
}

// TestAuthPostfix logs in with a real server, that takes mail from nobody else.
func TestAuthPostfix(t *testing.T) {
	k := startDeputy(t)
	p := rig.StartPostfix(t, rig.PostfixOptions{Main: map[string]string{
		"smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": k.path,
		"smtpd_client_restrictions": "permit_sasl_authenticated reject",
	}})
	for i, c := range []struct {
		auth    *smtp.Auth
		outcome evidence.Outcome
		step    evidence.Step
		code    int
	}{
		{login, accepted, evidence.StepRcpt, 250},
		{&smtp.Auth{Username: "gate", Password: "guessed"}, refused, evidence.StepAuth, 535},
		{nil, refused, evidence.StepRcpt, 554},
	} {
		d := downAt(t, "smtp://"+p.Addr, func(o *relay.Options) { o.Auth = c.auth })
		tx := d.Begin(t.Context(), envelope(t))
		want(t, tx.Rcpt(t.Context(), addr(t, rig.Users()[0]+"@"+rig.Domain), plain), c.outcome, c.step, c.code)
		if i == 0 {
			want(t, tx.Data(t.Context(), nil, strings.NewReader("Subject: x\r\n\r\nx\r\n")), accepted, evidence.StepMessage, 250)
		}
		tx.Abort()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if got := strings.Join(k.by, " "); got != "PLAIN PLAIN" {
		t.Errorf("logins by %s", got)
	}
}

// TestAuthPostfixLogin: the same by LOGIN, for servers that have nothing else.
func TestAuthPostfixLogin(t *testing.T) {
	k := startDeputy(t)
	p := rig.StartPostfix(t, rig.PostfixOptions{Main: map[string]string{
		"smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": k.path,
		"smtpd_client_restrictions": "permit_sasl_authenticated reject", "smtpd_sasl_mechanism_filter": "!plain, static:rest",
	}})
	d := downAt(t, "smtp://"+p.Addr, func(o *relay.Options) { o.Auth = login })
	tx := d.Begin(t.Context(), envelope(t))
	want(t, tx.Rcpt(t.Context(), addr(t, rig.Users()[0]+"@"+rig.Domain), plain), accepted, evidence.StepRcpt, 250)
	tx.Abort()
	if caps := d.State().Capabilities; len(caps.Auth) != 1 || caps.Auth[0] != "LOGIN" {
		t.Errorf("%q", caps.Auth)
	}
}
