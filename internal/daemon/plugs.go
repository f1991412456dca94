package daemon

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"backstop/internal/config"
	"backstop/internal/directory"
	"backstop/internal/directory/health"
	"backstop/internal/directory/httpdir"
	"backstop/internal/directory/ldapdir"
	"backstop/internal/directory/sqldir"
	"backstop/internal/directory/synced"
)

// plug is one [source.NAME] that asks a directory server, a database or a web server.
type plug struct {
	cfg     config.Source
	aliases aliases // with Sync: of the domains that use the source
	asked   asked
	copied  *synced.Source // with Sync: what answers
}

// asked is what a plug's outside system is asked through.
type asked interface {
	directory.Source
	State() health.State
	Close()
}

// source is what a chain asks.
func (p *plug) source() directory.Source {
	if p.copied != nil {
		return p.copied
	}
	return p.asked
}

func (p *plug) close() {
	if p.copied != nil {
		p.copied.Close()
	}
	p.asked.Close()
}

// same says whether a configuration wants this plug as it is.
func (p *plug) same(src *config.Source, as aliases) bool {
	return maps.Equal(p.aliases, as) && reflect.DeepEqual(p.cfg, *src)
}

// plug opens a source of this kind, or takes the one that is open.
func (d *Daemon) plug(s, old *setup, src *config.Source) (*plug, error) {
	if p := s.plugs[src.Name]; p != nil {
		return p, nil
	}
	common := askedOf(src)
	var as aliases
	if common.Sync {
		as = aliasesOf(s.cfg, src.Name)
	}
	var before *synced.Source
	if old != nil {
		if p := old.plugs[src.Name]; p != nil {
			if p.same(src, as) {
				s.plugs[src.Name] = p
				return p, nil
			}
			before = p.copied
		}
	}
	log := d.log
	if common.Sync {
		log = slog.New(slog.DiscardHandler) // how pulls go the copy says, and what that means
	}
	a, err := newAsked(src, log, d.o.Now)
	if err != nil {
		return nil, &config.Errors{List: []config.Problem{s.cfg.ProblemAt(src.Name, troubleKey(src), err)}}
	}
	p := &plug{cfg: *src, aliases: as, asked: a}
	if common.Sync {
		if p.copied, err = d.newCopy(s.cfg, src, common, p, before); err != nil {
			a.Close()
			return nil, fmt.Errorf("source %s: %w", src.Name, err)
		}
	}
	s.plugs[src.Name] = p
	return p, nil
}

func askedOf(src *config.Source) *config.Asked {
	switch src.Kind {
	case config.SourceLDAP:
		return &src.LDAP.Asked
	case config.SourceSQL:
		return &src.SQL.Asked
	}
	return &src.HTTP.Asked
}

// troubleKey is the key in which a mistake is that only the plug itself finds.
func troubleKey(src *config.Source) string {
	switch src.Kind {
	case config.SourceLDAP:
		if ldapdir.CheckFilter(src.LDAP.Filter) != nil || src.LDAP.Sync && ldapdir.CanPull(src.LDAP.Filter) != nil {
			return "filter"
		}
		return "base"
	case config.SourceSQL:
		return "query"
	}
	return "url"
}

// newAsked connects to nobody. Its error is about what the configuration says.
func newAsked(src *config.Source, log *slog.Logger, now func() time.Time) (asked, error) {
	c := askedOf(src)
	var roots *tls.Config // nil: the system's, and for a database what the URL says
	if c.CA != "" {
		roots = &tls.Config{RootCAs: c.Roots(), MinVersion: tls.VersionTLS12}
	}
	switch src.Kind {
	case config.SourceLDAP:
		l := src.LDAP
		if err := ldapdir.CanPull(l.Filter); c.Sync && err != nil {
			return nil, err
		}
		return ldapdir.New(ldapdir.Config{
			Name: src.Name, URLs: l.URLs, StartTLS: l.StartTLS, TLSConfig: roots, BindDN: l.BindDN, Password: l.Password.Reveal(),
			Base: l.Base, Filter: l.Filter, Attributes: l.Attributes, Timeout: c.Timeout, Connections: c.Connections,
			PageSize: l.PageSize, Logger: log, Now: now,
		})
	case config.SourceSQL:
		q := src.SQL
		return sqldir.New(sqldir.Config{
			Name: src.Name, URL: q.URL, Password: q.Password.Reveal(), Query: q.Query, Sync: c.Sync, TLSConfig: roots,
			Timeout: c.Timeout, Connections: c.Connections, Logger: log, Now: now,
		})
	}
	h := src.HTTP
	return httpdir.New(httpdir.Config{
		Name: src.Name, URL: h.URL, Token: h.Token.Reveal(), Timeout: c.Timeout, Connections: c.Connections,
		TLSConfig: roots, Logger: log, Now: now,
	})
}

// newCopy puts a copy in front of a source that is pulled; before is the one that had its name.
func (d *Daemon) newCopy(cfg *config.Config, src *config.Source, c *config.Asked, p *plug, before *synced.Source) (*synced.Source, error) {
	return synced.Open(synced.Config{
		Name: src.Name, Puller: p.asked.(directory.Puller), Identity: identity(src, p.aliases), Folder: copyFolder(cfg), Instead: before,
		Every: c.Every, Full: c.FullEvery, MaxStale: c.Lives.MaxStale, MissingFor: c.Every + cfg.Cache.MissingMax, Canonical: p.aliases.canonical,
		Offline: d.o.Offline, Logger: d.log, Now: d.o.Now,
	})
}

// startCopies has the copies pull. Whoever pulled into their folder before must be closed by now, so it comes last
// in what puts a setup in force. A copy that was taken from the setup before is started already.
func (s *setup) startCopies() {
	for _, p := range s.plugs {
		if p.copied != nil {
			p.copied.Start()
		}
	}
}

// copyFolder is where copies are kept; "" for nowhere.
func copyFolder(cfg *config.Config) string {
	if cfg.State == "" {
		return ""
	}
	return filepath.Join(cfg.State, "sources")
}

// identity is what a copy is of: another base, filter or database has other recipients, and another alias
// puts them under another name. Who asks, how often, and which of several servers changes nothing.
func identity(src *config.Source, as aliases) string {
	var b strings.Builder
	switch src.Kind {
	case config.SourceLDAP:
		l := src.LDAP
		fmt.Fprintf(&b, "ldap %q %q %q", l.Base, l.Filter, l.Attributes)
	case config.SourceSQL:
		q := src.SQL
		fmt.Fprintf(&b, "sql %s %q %q", q.URL.Scheme, q.URL.Host+q.URL.Path, q.Query)
		if options := withoutUser(q.URL.Query()); options != "" {
			fmt.Fprintf(&b, " with %q", options)
		}
	}
	for _, alias := range slices.Sorted(maps.Keys(as)) {
		fmt.Fprintf(&b, " %s=%s", alias, as[alias])
	}
	return b.String()
}

// withoutUser are the options of a database, of which some say where it is, without those that say who asks.
func withoutUser(options url.Values) string {
	for name := range options {
		if l := strings.ToLower(name); l == "user" || strings.Contains(l, "pass") {
			options.Del(name)
		}
	}
	return options.Encode()
}

// aliases are names of domains by their aliases.
type aliases map[string]string

// aliasesOf are those of the domains that use a source.
func aliasesOf(cfg *config.Config, source string) aliases {
	as := aliases{}
	for i := range cfg.Domains {
		d := &cfg.Domains[i]
		if slices.ContainsFunc(d.Sources, func(s config.Source) bool { return s.Name == source }) {
			for _, a := range d.Aliases {
				as[a] = d.Name
			}
		}
	}
	return as
}

// canonical turns an alias into the name.
func (as aliases) canonical(domain string) string {
	if name, ok := as[domain]; ok {
		return name
	}
	return domain
}
