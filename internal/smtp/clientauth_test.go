package smtp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/smtp"
)

// password holds what base64, SASL and a command line each might trip over.
const password = `pa ss+"w\örd=`

var annAuth = &smtp.Auth{Username: "ann@d.example", Password: password}

// away is a connection that comes from another machine.
type away struct{ net.Conn }

func (away) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 25), Port: 587} }

// knows is a server's script that knows ann, and offers this.
func knows(tc *tls.Config, offers ...string) mailtest.Script {
	s := mailtest.Script{TLS: tc, Logins: map[string]string{annAuth.Username: password}}
	if offers != nil {
		s.Extensions = append(offers, "PIPELINING")
	}
	return s
}

func TestAuth(t *testing.T) {
	ca := mailtest.NewAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "mx.test")}}
	checked := smtp.ClientConfig{ServerName: "mx.test", TLSConfig: &tls.Config{RootCAs: ca.Pool()}}
	required := checked
	required.TLS = smtp.TLSRequire
	for name, c := range map[string]struct {
		script mailtest.Script
		cfg    smtp.ClientConfig
		remote bool
		says   []string // to the server, up to MAIL
	}{
		"PLAIN, this machine":       {knows(nil), smtp.ClientConfig{}, false, []string{"EHLO", "AUTH"}},
		"LOGIN alone":               {knows(nil, "AUTH LOGIN CRAM-MD5"), smtp.ClientConfig{}, false, []string{"EHLO", "AUTH"}},
		"mechanisms in lower case":  {knows(nil, "auth login plain"), smtp.ClientConfig{}, false, []string{"EHLO", "AUTH"}},
		"TLS, checked":              {knows(server), required, true, []string{"EHLO", "STARTTLS", "EHLO", "AUTH"}},
		"TLS, opportunistic":        {knows(server), checked, true, []string{"EHLO", "STARTTLS", "EHLO", "AUTH"}},
		"TLS, LOGIN":                {knows(server, "AUTH LOGIN"), required, true, []string{"EHLO", "STARTTLS", "EHLO", "AUTH"}},
		"TLS, here, nobody's paper": {knows(server), smtp.ClientConfig{}, false, []string{"EHLO", "STARTTLS", "EHLO", "AUTH"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := mailtest.NewMock(t, c.script)
			var nc net.Conn = open(t, m)
			if c.remote {
				nc = away{nc}
			}
			c.cfg.LocalName, c.cfg.Auth = "gate.test", annAuth
			cl, err := smtp.NewClient(t.Context(), nc, c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second transaction needs no login of its own
				begin(t, cl)
				data(t, cl)
				if resp, err := cl.SendData(t.Context(), nil, strings.NewReader("x\r\n")); err != nil || resp.Code != 250 {
					t.Fatalf("%+v, %v", resp, err)
				}
			}
			var said []string
			for _, line := range m.Commands() {
				verb, _, _ := strings.Cut(line, " ")
				if verb == "MAIL" {
					break
				}
				said = append(said, verb)
			}
			if got := m.Messages(); !slices.Equal(said, c.says) || len(got) != 2 || got[1].Login != annAuth.Username || m.Asked("AUTH") != 1 {
				t.Errorf("%q, %v", m.Commands(), got)
			}
			if f := m.Faults(); len(f) > 0 {
				t.Error(f)
			}
			cl.Quit(t.Context())
		})
	}
}

// TestAuthLong: what does not fit into a command line comes after the challenge.
func TestAuthLong(t *testing.T) {
	long := &smtp.Auth{Username: "ann", Password: strings.Repeat("long ", 200)}
	m := mailtest.NewMock(t, mailtest.Script{Logins: map[string]string{"ann": long.Password}})
	c, _ := talk(t, m, smtp.ClientConfig{Auth: long})
	begin(t, c)
	if m.Asked("AUTH PLAIN") != 1 || m.Asked("AUTH PLAIN ") != 0 {
		t.Errorf("%.100q", m.Commands())
	}
	c.Quit(t.Context())
}

// TestAuthKept: no word that could cost the password is said, and the operator hears why.
func TestAuthKept(t *testing.T) {
	ca := mailtest.NewAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "mx.test")}}
	other := &tls.Config{RootCAs: mailtest.NewAuthority(t).Pool()}
	trusted := &tls.Config{RootCAs: ca.Pool()}
	refusing := knows(server)
	refusing.Rules = []mailtest.Rule{{On: "STARTTLS", Reply: "454 4.7.0 not now"}}
	for name, c := range map[string]struct {
		script mailtest.Script
		cfg    smtp.ClientConfig
		auth   *smtp.Auth
		step   smtp.Step
		says   string
	}{
		"TLS off":               {knows(server), smtp.ClientConfig{TLS: smtp.TLSOff}, annAuth, smtp.StepAuth, "in the clear"},
		"STARTTLS not offered":  {knows(nil), smtp.ClientConfig{}, annAuth, smtp.StepAuth, "in the clear"},
		"STARTTLS refused":      {refusing, smtp.ClientConfig{}, annAuth, smtp.StepAuth, "in the clear"},
		"certificate of others": {knows(server), smtp.ClientConfig{ServerName: "mx.test", TLSConfig: other}, annAuth, smtp.StepStartTLS, "certificate"},
		"name of another":       {knows(server), smtp.ClientConfig{ServerName: "mx2.test", TLSConfig: trusted}, annAuth, smtp.StepStartTLS, "certificate"},
		"no AUTH":               {mailtest.Script{TLS: server}, smtp.ClientConfig{ServerName: "mx.test", TLSConfig: trusted}, annAuth, smtp.StepAuth, "offers no AUTH"},
		"other mechanisms":      {knows(server, "AUTH GSSAPI NTLM"), smtp.ClientConfig{ServerName: "mx.test", TLSConfig: trusted}, annAuth, smtp.StepAuth, `"GSSAPI NTLM" only`},
		"NUL in it":             {knows(server), smtp.ClientConfig{ServerName: "mx.test", TLSConfig: trusted}, &smtp.Auth{Username: "a\x00b"}, smtp.StepAuth, "NUL"},
		"nobody":                {knows(server), smtp.ClientConfig{ServerName: "mx.test", TLSConfig: trusted}, &smtp.Auth{}, smtp.StepAuth, "empty"},
	} {
		t.Run(name, func(t *testing.T) {
			m := mailtest.NewMock(t, c.script)
			c.cfg.LocalName, c.cfg.Auth = "gate.test", c.auth
			_, err := smtp.NewClient(t.Context(), away{open(t, m)}, c.cfg)
			var se *smtp.StepError
			if !errors.As(err, &se) || se.Step != c.step || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "at "+c.step.String()+": ") {
				t.Errorf("%v", err)
			}
			var h interface{ Hint() string }
			if c.step == smtp.StepAuth && (!errors.As(err, &h) || h.Hint() == "") {
				t.Errorf("no advice: %v", err)
			}
			m.WaitIdle(t)
			if m.Asked("AUTH") != 0 {
				t.Errorf("%q", m.Commands())
			}
		})
	}
}

func TestAuthRefused(t *testing.T) {
	final := regexp.MustCompile("^response")
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + annAuth.Username + "\x00" + password))
	for name, c := range map[string]struct {
		offers string
		rule   mailtest.Rule
		code   int // 0: a *StepError
		text   string
	}{
		"wrong password":         {"AUTH PLAIN", mailtest.Rule{On: "AUTH", Reply: "535 5.7.8 Authentication failed"}, 535, "refused at auth: 535 Authentication failed"},
		"not now":                {"AUTH PLAIN", mailtest.Rule{On: "AUTH", Reply: "454 4.7.0 Later"}, 454, "refused at auth: 454 Later"},
		"no such mechanism":      {"AUTH LOGIN", mailtest.Rule{On: "AUTH", Reply: "504 5.5.4 What?"}, 504, "refused at auth: 504 What?"},
		"after both words":       {"AUTH LOGIN", mailtest.Rule{On: "AUTH", Match: final, Reply: "535 5.7.8 No"}, 535, "refused at auth: 535 No"},
		"always one more":        {"AUTH LOGIN", mailtest.Rule{On: "AUTH", Reply: "334 more"}, 0, "at auth: the server asks for more"},
		"PLAIN with a challenge": {"AUTH PLAIN", mailtest.Rule{On: "AUTH", Reply: "334 more"}, 0, "at auth: the server asks for more"},
		"closing":                {"AUTH PLAIN", mailtest.Rule{On: "AUTH", Hangup: true}, 0, "at auth: EOF"},
		"repeats the command":    {"AUTH PLAIN", mailtest.Rule{On: "AUTH", Reply: "500 5.5.2 AUTH PLAIN " + plain + "?"}, 500, "left out"},
		"repeats the password":   {"AUTH PLAIN", mailtest.Rule{On: "AUTH", Reply: "535-5.7.8 no\n535 5.7.8 not " + password}, 535, "left out"},
	} {
		t.Run(name, func(t *testing.T) {
			s := knows(nil, c.offers)
			s.Rules = []mailtest.Rule{c.rule}
			m := mailtest.NewMock(t, s)
			_, err := smtp.NewClient(t.Context(), open(t, m), smtp.ClientConfig{LocalName: "gate.test", Auth: annAuth})
			var se *smtp.StepError
			var re *smtp.RefusedError
			switch {
			case c.code == 0 && errors.As(err, &se) && se.Step == smtp.StepAuth:
			case c.code != 0 && errors.As(err, &re) && re.Step == smtp.StepAuth && re.Response.Code == c.code:
			default:
				t.Fatalf("%v", err)
			}
			if !strings.Contains(err.Error(), c.text) || tells(err.Error()) {
				t.Errorf("%v", err)
			}
			m.WaitIdle(t)
			if m.Asked("AUTH") != 1 || m.Asked("MAIL") != 0 {
				t.Errorf("%q", m.Commands())
			}
		})
	}
}

// tells says whether a text gives the password away.
func tells(s string) bool {
	for _, secret := range []string{password, base64.StdEncoding.EncodeToString([]byte(password)),
		base64.StdEncoding.EncodeToString([]byte("\x00" + annAuth.Username + "\x00" + password))} {
		if strings.Contains(s, secret) {
			return true
		}
	}
	return false
}

// TestAuthPrinted: in whatever way it is printed, the password is not in it.
func TestAuthPrinted(t *testing.T) {
	var logged bytes.Buffer
	cfg := smtp.ClientConfig{Auth: annAuth}
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "auth", annAuth, "value", *annAuth)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "auth", annAuth, "value", *annAuth)
	j, err := json.Marshal(map[string]any{"a": annAuth, "b": *annAuth})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		fmt.Sprint(annAuth), fmt.Sprintf("%+v %#v %q %x %d", *annAuth, *annAuth, *annAuth, *annAuth, annAuth),
		fmt.Sprintf("%+v", cfg.Auth), string(j), logged.String(),
	} {
		if strings.Contains(s, "pa ss") || strings.Contains(s, fmt.Sprintf("%x", "pa ss")) || !strings.Contains(s, "ann@d.example") {
			t.Error(s)
		}
	}
}

// authPeer is the independent server, with a login.
type authPeer struct {
	*peer
	mechs []string
	login string
	tries int
}

func (p *authPeer) AuthMechanisms() []string { return p.mechs }

func (p *authPeer) Auth(mech string) (sasl.Server, error) {
	p.tries++
	check := func(user, pass string) error {
		if user != annAuth.Username || pass != password {
			return gosmtp.ErrAuthFailed
		}
		p.login = user
		return nil
	}
	if mech == "PLAIN" {
		return sasl.NewPlainServer(func(_, user, pass string) error { return check(user, pass) }), nil
	}
	return &loginPeer{check: check}, nil
}

// loginPeer is the server's side of LOGIN, which the library has left out.
type loginPeer struct {
	check func(user, pass string) error
	said  []string
}

func (l *loginPeer) Next(response []byte) (challenge []byte, done bool, err error) {
	if response != nil {
		l.said = append(l.said, string(response))
	}
	if len(l.said) < 2 {
		return []byte([]string{"User Name\x00", "Password\x00"}[len(l.said)]), false, nil
	}
	return nil, true, l.check(l.said[0], l.said[1])
}

func (p *authPeer) Mail(from string, o *gosmtp.MailOptions) error {
	if p.login == "" {
		return gosmtp.ErrAuthRequired
	}
	return p.peer.Mail(from, o)
}

func TestAuthPeer(t *testing.T) {
	ca := mailtest.NewAuthority(t)
	for name, mechs := range map[string][]string{"PLAIN": {"PLAIN"}, "LOGIN": {"LOGIN"}} {
		for _, wrong := range []bool{false, true} {
			p := &authPeer{peer: &peer{}, mechs: mechs}
			_, dial := startPeer(t, "tcp", func(s *gosmtp.Server) {
				s.Backend = gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return p, nil })
				s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "peer.test")}}
			})
			cfg := smtp.ClientConfig{LocalName: "gate.test", ServerName: "peer.test", TLSConfig: &tls.Config{RootCAs: ca.Pool()}, Auth: annAuth}
			if wrong {
				cfg.Auth = &smtp.Auth{Username: annAuth.Username, Password: "guessed"}
			}
			c, err := smtp.NewClient(t.Context(), away{dial()}, cfg)
			if wrong {
				var re *smtp.RefusedError
				if !errors.As(err, &re) || re.Step != smtp.StepAuth || re.Response.Code != 535 || p.tries != 1 {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			exchange(t, c, true, []byte("Subject: x\r\n\r\nx\r\n"))
			c.Quit(t.Context())
		}
	}
}

// TestAuthSocket: what goes through a socket of this machine passes no network.
func TestAuthSocket(t *testing.T) {
	s := knows(nil)
	s.LMTP = true
	m := mailtest.NewUnixMock(t, s, filepath.Join(mailtest.Dir(t), "s"))
	nc, err := net.Dial("unix", m.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.NewClient(t.Context(), nc, smtp.ClientConfig{LocalName: "gate.test", LMTP: true, Auth: annAuth})
	if err != nil {
		t.Fatal(err)
	}
	c.Quit(t.Context())
}

// afar is a hostile server on this machine, or on another.
type afar struct {
	hostile
	remote bool
}

func (a *afar) RemoteAddr() net.Addr {
	if a.remote {
		return away{}.RemoteAddr()
	}
	return &net.UnixAddr{}
}

// FuzzAuth logs in with a server that sends the given octets. Whatever they are, the login ends,
// no error tells the password, and one on another machine without TLS never hears it.
func FuzzAuth(f *testing.F) {
	for _, s := range []string{
		"220 hi\r\n250-hello\r\n250 AUTH PLAIN LOGIN\r\n235 ok\r\n250 ok\r\n",
		"220 hi\r\n250-hello\r\n250 AUTH LOGIN\r\n334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 ok\r\n",
		"220 hi\r\n250-hello\r\n250 AUTH LOGIN\r\n334 \r\n334-x\r\n334 y\r\n535 5.7.8 " + password + "\r\n",
		"220 hi\r\n250-hello\r\n250 AUTH PLAIN\r\n334\r\n235 2.7.0\r\n",
		"220 hi\r\n250-hello\r\n250-AUTH\r\n250 AUTH GSSAPI\r\n454 4.7.0 x\r\n",
		"220 hi\r\n250-hello\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n454 4.7.0 x\r\n235 ok\r\n",
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, says []byte, remote bool) {
		nc := &afar{hostile{says: says, piece: 200}, remote}
		c, err := smtp.NewClient(context.Background(), nc, smtp.ClientConfig{LocalName: "gate.test", Auth: annAuth})
		if err != nil && tells(err.Error()) {
			t.Fatalf("the password is in an error: %v", err)
		}
		if wrote := nc.wrote.String(); remote && (err == nil || strings.Contains(wrote, "AUTH") || tells(wrote)) {
			t.Fatalf("in the clear: %q", wrote)
		}
		if err != nil {
			return
		}
		b := c.Batch()
		b.Mail(mail.ReversePath{}, smtp.MailParams{})
		if _, err := b.Do(context.Background()); err != nil && !errors.Is(err, io.EOF) && tells(err.Error()) {
			t.Fatal(err)
		}
	})
}
