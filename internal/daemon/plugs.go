package daemon

import (
	"crypto/tls"
	"fmt"
	"log/slog"
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
	aliases string // with Sync: the names under which other domains' users are kept
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
func (p *plug) same(src *config.Source, aliases string) bool {
	return p.aliases == aliases && reflect.DeepEqual(p.cfg, *src)
}

// plug opens a source of this kind, or takes the one that is open.
func (d *Daemon) plug(s, old *setup, src *config.Source) (*plug, error) {
	if p := s.plugs[src.Name]; p != nil {
		return p, nil
	}
	common := askedOf(src)
	aliases := ""
	if common.Sync {
		aliases = allAliases(s.cfg)
	}
	if old != nil {
		if p := old.plugs[src.Name]; p != nil && p.same(src, aliases) {
			s.plugs[src.Name] = p
			return p, nil
		}
	}
	a, err := newAsked(src, d.log, d.o.Now)
	if err != nil {
		return nil, &config.Errors{List: []config.Problem{s.cfg.ProblemAt(src.Name, troubleKey(src), err)}}
	}
	p := &plug{cfg: *src, aliases: aliases, asked: a}
	if common.Sync {
		if p.copied, err = d.newCopy(s.cfg, src, common, p); err != nil {
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

// newCopy puts a copy in front of a source that is pulled.
func (d *Daemon) newCopy(cfg *config.Config, src *config.Source, c *config.Asked, p *plug) (*synced.Source, error) {
	return synced.Open(synced.Config{
		Name: src.Name, Puller: p.asked.(directory.Puller), Identity: identity(src, p.aliases), Folder: copyFolder(cfg),
		Every: c.Every, Full: c.FullEvery, MaxStale: c.Lives.MaxStale, Canonical: everyCanonical(cfg),
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

// identity is what a copy is of: another server, base or filter has other recipients, and
// another alias puts them under another name. Who asks, and how often, changes nothing.
func identity(src *config.Source, aliases string) string {
	var b strings.Builder
	switch src.Kind {
	case config.SourceLDAP:
		l := src.LDAP
		fmt.Fprintf(&b, "ldap %q %q %q", l.Base, l.Filter, l.Attributes)
		for _, u := range l.URLs {
			fmt.Fprintf(&b, " %q", u.Host+u.Path)
		}
	case config.SourceSQL:
		q := src.SQL
		fmt.Fprintf(&b, "sql %s %q %q", q.URL.Scheme, q.URL.Host+q.URL.Path, q.Query)
	}
	return b.String() + " " + aliases
}

// allAliases is every alias of every domain, for comparison.
func allAliases(cfg *config.Config) string {
	var all []string
	for i := range cfg.Domains {
		for _, a := range cfg.Domains[i].Aliases {
			all = append(all, a+"="+cfg.Domains[i].Name)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// everyCanonical turns every alias of every domain into the domain's name.
func everyCanonical(cfg *config.Config) func(string) string {
	return func(domain string) string {
		if r := cfg.Routes.Find(domain); r != nil {
			return r.Name
		}
		return domain
	}
}

// askedLives are the lives of answers that are asked for each time unless the operator
// wants otherwise.
func askedLives(l config.Lives) directory.Lives {
	out := lives(l)
	if out.ExistsFor == 0 {
		out.ExistsFor, out.Refresh = directory.Never, directory.Never
	}
	if out.MissingFor == 0 {
		out.MissingFor = directory.Never
	}
	out.MissingMax = out.MissingFor
	return out
}
