package ldapdir

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/directory/health"
	"backstop/internal/evidence"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// TestNotAsked: none of these is a word about the recipient.
func TestNotAsked(t *testing.T) {
	d := rig.NewSlapd(t, rig.SlapdOptions{})
	d.AddUser("ann", "mail: ann@example.com")
	stranger := mailtest.NewAuthority(t)
	for _, tt := range []struct {
		name, why string
		change    func(*Config)
	}{
		{"wrong password", "does not take the password of cn=admin", func(c *Config) { c.Password = "guess" }},
		{"unknown name", "does not take the password of cn=nobody", func(c *Config) { c.BindDN = "cn=nobody," + c.Base }},
		{"wrong base", "the base is not there", func(c *Config) { c.Base = "ou=people," + c.Base }},
		{"another's base", "the base is not there", func(c *Config) { c.Base = "dc=example,dc=org" }},
		{"a slip in the filter", "there is nobody for whom", func(c *Config) { c.Filter = "(mial={address})" }},
		{"a slip in the condition", "there is nobody for whom", func(c *Config) { c.Filter = "(memberOff=cn=mail)" }},
		{"not trusted", "its certificate is not trusted", func(c *Config) {
			c.URLs = []*url.URL{parseURL(t, d.TLSURL())}
			c.TLSConfig = &tls.Config{RootCAs: stranger.Pool()}
		}},
		{"not trusted, StartTLS", "its certificate is not trusted", func(c *Config) {
			c.StartTLS = true
			c.TLSConfig = &tls.Config{RootCAs: stranger.Pool()}
		}},
		{"another's certificate", "its certificate is for another name", func(c *Config) {
			c.URLs = []*url.URL{parseURL(t, strings.Replace(d.TLSURL(), "127.0.0.1", "localhost", 1))}
		}},
		{"another's certificate, StartTLS", "its certificate is for another name", func(c *Config) {
			c.URLs = []*url.URL{parseURL(t, strings.Replace(d.URL(), "127.0.0.1", "localhost", 1))}
			c.StartTLS = true
		}},
		{"TLS where there is none", "does not speak TLS", func(c *Config) {
			c.URLs = []*url.URL{parseURL(t, strings.Replace(d.URL(), "ldap:", "ldaps:", 1))}
		}},
		{"no TLS where there is some", d.TLSURL()[len("ldaps://"):], func(c *Config) {
			c.URLs = []*url.URL{parseURL(t, strings.Replace(d.TLSURL(), "ldaps:", "ldap:", 1))}
			c.Timeout = time.Second
		}},
		{"no such socket", "no such file", func(c *Config) { c.URLs = []*url.URL{parseURL(t, "ldapi:///nowhere/ldapi")} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, addr := range []string{"ann@example.com", "bob@example.com"} {
				s := asking(t, d, tt.change)
				if st := s.State(); st.Condition != health.Unseen {
					t.Errorf("at first: %+v", st)
				}
				says(t, s, addr, evidence.Unavailable, tt.why)
				if st := s.State(); st.Condition != health.Down || !strings.Contains(st.LastError, tt.why) {
					t.Errorf("state: %+v", st)
				}
				if a := s.Lookup(t.Context(), address(t, addr)); strings.Contains(a.Detail, "guess") || strings.Contains(a.Detail, d.Password) {
					t.Errorf("the detail holds the password: %s", a.Detail)
				}
			}
			s := asking(t, d, tt.change)
			var copy kept
			if err := copy.pull(t.Context(), s); err == nil || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("pull: %v", err)
			}
		})
	}
}

// TestMayNotRead: whoever sees nothing of others knows nothing of them.
func TestMayNotRead(t *testing.T) {
	d := rig.NewSlapd(t, rig.SlapdOptions{Database: "access to dn.base=\"dc=example,dc=com\" by * read\naccess to * by anonymous auth by * none\n"})
	d.AddUser("ann", "mail: ann@example.com")
	gate := d.AddUser("gate", "userPassword: open sesame")
	s := asking(t, d, func(c *Config) { c.BindDN, c.Password = gate, "open sesame" })
	says(t, s, "ann@example.com", evidence.Unavailable, "what the bind DN may read")
	s = asking(t, d, func(c *Config) { c.BindDN, c.Password = "", "" })
	says(t, s, "ann@example.com", evidence.Unavailable, "what the bind DN may read")
}

// TestNoStartTLS: a server without TLS is not asked in clear text.
func TestNoStartTLS(t *testing.T) {
	peer := talking(t, func(nc net.Conn) {
		buf := make([]byte, 64)
		for {
			n, err := nc.Read(buf)
			if err != nil {
				return
			}
			if strings.Contains(string(buf[:n]), "secret") {
				t.Error("the password went out in clear text")
			}
			io.WriteString(nc, "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00") // protocolError
		}
	})
	s := newSource(t, Config{Name: "corp", URLs: []*url.URL{parseURL(t, "ldap://"+peer)}, StartTLS: true, Base: "dc=example,dc=com", BindDN: "cn=a", Password: "secret"})
	says(t, s, "ann@example.com", evidence.Unavailable, "the server refuses StartTLS")
}

// talking is a server of which each connection is handled by serve.
func talking(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	running.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer context.AfterFunc(ctx, func() { nc.Close() })()
				defer nc.Close()
				serve(nc)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		ln.Close()
		running.Wait()
	})
	return ln.Addr().String()
}

// TestNonsense: peers that hang, or send what is no LDAP.
func TestNonsense(t *testing.T) {
	hang := func(nc net.Conn) { io.Copy(io.Discard, nc) }
	send := func(octets string) func(net.Conn) {
		return func(nc net.Conn) {
			nc.Read(make([]byte, 1))
			io.WriteString(nc, octets)
			io.Copy(io.Discard, nc)
		}
	}
	for _, tt := range []struct {
		name  string
		serve func(net.Conn)
	}{
		{"says nothing", hang},
		{"hangs up", func(net.Conn) {}},
		{"HTTP", send("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")},
		{"zeros", send(strings.Repeat("\x00", 1000))},
		{"ones", send(strings.Repeat("\xff", 1000))},
		{"an empty message", send("\x30\x00")},
		{"a message without an operation", send("\x30\x03\x02\x01\x01")},
		{"a message of two gigabytes", send("\x30\x84\x7f\xff\xff\xff\x02\x01\x01\x04\x84\x7f\xff\xff\xf0" + strings.Repeat("x", 100000))},
		{"deep", send(strings.Repeat("\x30\x80", 100000))},
		{"endless", func(nc net.Conn) {
			for line := strings.Repeat("\x04\x04abcd", 1000); ; {
				if _, err := io.WriteString(nc, "\x30\x80"+line); err != nil {
					return
				}
			}
		}},
		{"somebody else's answer", send("\x30\x0c\x02\x01\x63\x65\x07\x0a\x01\x00\x04\x00\x04\x00")},
		{"a result without its parts", send("\x30\x07\x02\x01\x01\x61\x02\x0a\x01\x00")},
		{"an answer to another question", send("\x30\x0c\x02\x01\x01\x67\x07\x0a\x01\x00\x04\x00\x04\x00")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			peer := talking(t, tt.serve)
			for _, start := range []bool{false, true} {
				for _, dn := range []string{"", "cn=gate"} {
					cfg := Config{Name: "corp", URLs: []*url.URL{parseURL(t, "ldap://"+peer)}, StartTLS: start, Base: "dc=example,dc=com", BindDN: dn, Timeout: 50 * time.Millisecond}
					if dn != "" {
						cfg.Password = "secret"
					}
					s := newSource(t, cfg)
					says(t, s, "ann@example.com", evidence.Unavailable, peer)
					var copy kept
					if err := copy.pull(t.Context(), s); err == nil {
						t.Error("pulled something")
					}
				}
			}
		})
	}
}

// TestAHangingServerIsPassedBy: it takes its share of the time and no more.
func TestAHangingServerIsPassedBy(t *testing.T) {
	d := rig.NewSlapd(t, rig.SlapdOptions{})
	d.AddUser("ann", "mail: ann@example.com")
	peer := talking(t, func(nc net.Conn) { io.Copy(io.Discard, nc) })
	s := asking(t, d, func(c *Config) {
		c.URLs = append([]*url.URL{parseURL(t, "ldap://"+peer)}, c.URLs...)
		c.Timeout = 2 * time.Second
	})
	says(t, s, "ann@example.com", evidence.Exists, "")
	if s.order()[0].name != d.URL() {
		t.Error("the one that hangs is still asked first")
	}
	var copy kept
	copy.mustPull(t, s)
}

// TestGivenUp: who does not wait any longer is let go at once, and the server is not blamed.
func TestGivenUp(t *testing.T) {
	asked := make(chan struct{})
	var once sync.Once
	peer := talking(t, func(nc net.Conn) {
		nc.Read(make([]byte, 1))
		once.Do(func() { close(asked) })
		io.Copy(io.Discard, nc)
	})
	s := newSource(t, Config{Name: "corp", URLs: []*url.URL{parseURL(t, "ldap://"+peer)}, Base: "dc=example,dc=com", Timeout: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	a := s.Lookup(ctx, address(t, "ann@example.com"))
	if a.Standing != evidence.Unavailable || s.State().Condition != health.Unseen {
		t.Errorf("%+v, %+v", a, s.State())
	}
	s.Close()
	says(t, s, "ann@example.com", evidence.Unavailable, "closed")
}

// TestAWrongPasswordIsSpared: directories lock accounts.
func TestAWrongPasswordIsSpared(t *testing.T) {
	d := rig.NewSlapd(t, rig.SlapdOptions{Database: "access to attrs=userPassword by anonymous auth\naccess to * by * read\n"})
	d.AddUser("ann", "mail: ann@example.com")
	gate := d.AddUser("gate", "userPassword: old")
	now := time.Unix(1_000_000_000, 0)
	s := asking(t, d, func(c *Config) {
		c.BindDN, c.Password, c.Now = gate, "new", func() time.Time { return now }
		c.URLs = append(c.URLs, c.URLs[0])
	})
	says(t, s, "ann@example.com", evidence.Unavailable, "wrong name or wrong password")
	d.Modify(gate, "replace: userPassword", "userPassword: new", "-")
	now = now.Add(firstRefusal - time.Second)
	says(t, s, "ann@example.com", evidence.Unavailable, "because directories lock accounts")
	now = now.Add(time.Minute)
	says(t, s, "ann@example.com", evidence.Exists, "")
}
