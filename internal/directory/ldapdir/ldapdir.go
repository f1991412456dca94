package ldapdir

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"backstop/internal/directory"
	"backstop/internal/directory/health"

	"github.com/go-ldap/ldap/v3"
)

// Config of a Source. Name and URLs are needed, and Base except for a global
// catalogue; the rest has defaults.
type Config struct {
	Name string // directory.Source's
	// URLs are the servers, asked in this order: ldap, ldaps or ldapi (ParseURL).
	URLs []*url.URL
	// StartTLS asks every ldap:// server for TLS, and asks no server that has none.
	StartTLS  bool
	TLSConfig *tls.Config // roots; nil: the system's. ServerName is each server's own.

	BindDN, Password string // both empty: anonymous

	Base       string   // below it is everybody
	Filter     string   // see CheckFilter; "": the default one
	Attributes []string // that hold addresses, for pulls; nil: those that the filter compares with {address}

	Timeout     time.Duration // of one question, all servers included; in a pull: between two answers. 10 s
	Connections int           // open at once for questions; 8
	PageSize    int           // entries an answer of a pull; 1000

	Logger *slog.Logger     // is told when the servers cannot be asked, and again; nil: nobody
	Now    func() time.Time // the clock; time.Now
}

// Source asks the servers. Its methods are called from many goroutines.
type Source struct {
	cfg     Config
	filter  *template
	servers []*server
	gate    *health.Gate

	signing chan struct{} // held by who binds, as long as the password is not known to be right
	signed  atomic.Bool   // the last bind was taken
	refused refusal
}

var (
	_ directory.Source = (*Source)(nil)
	_ directory.Puller = (*Source)(nil)
)

// New makes a source. It connects to nobody before the first question. Its errors are
// mistakes in the configuration.
func New(cfg Config) (*Source, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	t, err := parseTemplate(cfg.Filter)
	if err != nil {
		return nil, err
	}
	if len(cfg.Attributes) == 0 {
		cfg.Attributes = t.attributes()
	}
	cfg.fill()
	s := &Source{
		cfg: cfg, filter: t,
		// Somebody may send an address that the server chokes on. Others must not feel it.
		gate: health.NewGate(health.GateOptions{
			Options:     health.Options{Timeout: cfg.Timeout, Logger: cfg.Logger, Now: cfg.Now, LookAt: "the filter, and the limits that the server sets the bind DN"},
			Connections: cfg.Connections, Odd: aboutTheQuestion,
		}),
		signing: make(chan struct{}, 1),
	}
	for _, u := range cfg.URLs {
		s.servers = append(s.servers, newServer(u))
	}
	return s, nil
}

func (c *Config) fill() {
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.PageSize <= 0 {
		c.PageSize = 1000
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("source", c.Name)
}

func (c *Config) check() error {
	if len(c.URLs) == 0 {
		return errors.New("no LDAP server is named")
	}
	catalogue := true
	for _, u := range c.URLs {
		if err := checkURL(u, c.StartTLS); err != nil {
			return err
		}
		catalogue = catalogue && (u.Port() == "3268" || u.Port() == "3269")
	}
	switch {
	case c.BindDN != "" && c.Password == "":
		// A server takes a name without a password for nobody at all and says success
		// (RFC 4513, 5.1.2), so the mistake would not be noticed.
		return errors.New("a bind DN without a password: name the password's file, or leave the bind DN out to ask anonymously")
	case c.BindDN == "" && c.Password != "":
		return errors.New("a password without a bind DN: say whose it is")
	case c.Base == "" && !catalogue:
		return errors.New(`no base is named: give the DN below which the recipients are, as "dc=example,dc=com"`)
	}
	return checkBase(c.Base)
}

// checkBase says what is wrong with a base DN (RFC 4514), if anything. An empty one
// is right at a global catalogue only (ports 3268 and 3269).
func checkBase(base string) error {
	if _, err := ldap.ParseDN(base); err != nil {
		return fmt.Errorf("the base %q is not a DN such as \"ou=people,dc=example,dc=com\": %v", base, short(err))
	}
	return nil
}

// checkURL takes ldap://HOST[:PORT], ldaps://HOST[:PORT] and ldapi:///PATH.
func checkURL(u *url.URL, startTLS bool) error {
	extra := strings.Trim(u.Path, "/")
	switch {
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%s: an LDAP server is named as SCHEME://HOST:PORT and nothing else; base, filter and bind DN have keys of their own", u.Redacted())
	case u.Scheme == "ldapi" && u.Host+extra == "":
		return errors.New("ldapi:// needs the path of the socket, as in ldapi:///run/slapd/ldapi")
	case u.Scheme == "ldapi" && startTLS, u.Scheme == "ldaps" && startTLS:
		return fmt.Errorf("%s: starttls is for ldap:// servers only", u)
	case u.Scheme == "ldapi":
		return nil
	case u.Scheme != "ldap" && u.Scheme != "ldaps":
		return fmt.Errorf("%s: an LDAP server is named by ldap://, ldaps:// or ldapi://", u)
	case u.Hostname() == "":
		return fmt.Errorf("%s names no host", u)
	case extra != "":
		return fmt.Errorf("%s: leave out what follows the host; the base has a key of its own", u)
	}
	return nil
}

// Name is the source's name in the configuration.
func (s *Source) Name() string { return s.cfg.Name }

// State says how the servers do, taken together.
func (s *Source) State() health.State { return s.gate.State() }

// Close closes the connections. Questions under way end as unavailable, a pull with an error.
func (s *Source) Close() {
	s.gate.Close()
	for _, srv := range s.servers {
		srv.idle.close()
	}
}
