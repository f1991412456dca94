package config

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"
)

// Asked is what the sources have in common that ask a directory server, a database or a web server.
type Asked struct {
	Timeout     time.Duration // of one question
	Connections int           // open at once
	CA          string        // PEM; "": the system's authorities
	Lives       Lives         // ExistsFor and MissingFor may be 0: asked each time
	Next        bool          // its "missing" leaves the word to the next source
	Sync        bool          // all recipients are pulled, and answers come from the copy
	Every       time.Duration // between two pulls of changes
	FullEvery   time.Duration // between two pulls of everything
}

// LDAP is how directory servers are asked (RFC 4511).
type LDAP struct {
	Asked
	URLs       []*url.URL // in the order in which they are tried
	StartTLS   bool
	BindDN     string
	Password   Secret
	Base       string
	Filter     string   // "": the default
	Attributes []string // that hold addresses; nil: the default ones
	PageSize   int
}

// SQL is how a database is asked.
type SQL struct {
	Asked
	URL      *url.URL
	Password Secret // zero: as the URL has it
	Query    string
}

// HTTP is how a web server is asked.
type HTTP struct {
	Asked
	URL   *url.URL
	Token Secret
}

// Roots are the authorities that certify the server; nil: the system's.
func (a *Asked) Roots() *x509.CertPool {
	if a.CA == "" {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(a.CA))
	return pool
}

const (
	queryExample = `"SELECT 1 FROM mail_user WHERE email = $1"`
	everyDoc     = "With `mode = \"sync\"`: how often what has changed is pulled."
)

func (a *Asked) keys(d *decoder, where, timeoutDoc string) []key {
	next := func(d *decoder, n *node) {
		var v uint8
		choice(&v, "refuse", "next")(d, n)
		a.Next = v == 1
	}
	return []key{
		{name: "when_missing", def: `"refuse"`, set: next,
			doc: "What follows when it does not have the recipient: `refuse`, for its no is definite; or `next` asks the next source, where several directories have some of the users each."},
		{name: "timeout", def: `"10s"`, set: duration(&a.Timeout, 100*time.Millisecond, 5*time.Minute), doc: timeoutDoc},
		{name: "connections", def: "8", set: integer(&a.Connections, 1, 10000), doc: "Connections open at once."},
		{name: "ca_file", unset: "the system's certificates", set: takePEM(&a.CA),
			doc: "PEM file of the authority that certifies the server, where you sign its certificate yourself. It replaces the system's."},
		{name: "exists_for", def: `"0s"`, set: d.marked(where+"exists_for", duration(&a.Lives.ExistsFor, 0, anyTime)),
			doc: "How long \"exists\" is believed without asking again. 0 asks each time, so that a change is seen at once; raise it to spare the server."},
		{name: "missing_for", def: `"0s"`, set: d.marked(where+"missing_for", duration(&a.Lives.MissingFor, 0, anyTime)),
			doc: "The same for \"missing\". It does not grow, as it does for call-aheads."},
		{name: "max_stale", unset: "as in `[cache]`", set: d.marked(where+"max_stale", duration(&a.Lives.MaxStale, time.Second, anyTime)),
			doc: "How long the last known answer is used while the server cannot be asked; with `mode = \"sync\"`, how old the copy may become. After that mail is deferred."},
	}
}

// syncKeys are the rows of sources that can be pulled.
func (a *Asked) syncKeys(d *decoder, where, modeDoc string) []key {
	mode := func(d *decoder, n *node) {
		var v uint8
		choice(&v, "live", "sync")(d, n)
		a.Sync = v == 1
	}
	return []key{
		{name: "mode", def: `"live"`, set: mode, doc: modeDoc},
		{name: "every", def: `"15m"`, set: d.marked(where+"every", duration(&a.Every, time.Second, anyTime)), doc: everyDoc},
		{name: "full_every", def: `"24h"`, set: d.marked(where+"full_every", duration(&a.FullEvery, time.Second, anyTime)),
			doc: "With `mode = \"sync\"`: how often everything is pulled, whatever has changed."},
	}
}

func (l *LDAP) keys(d *decoder, where string) []key {
	keys := []key{
		{name: "url", required: true, example: `"ldaps://HOST"`, set: d.marked(where+"url", takeURLs(&l.URLs, "ldaps", "ldap", "ldapi")),
			doc: "The directory server: `ldaps://HOST[:PORT]`, `ldap://HOST[:PORT]` or `ldapi://%2FPATH`, which is a socket on this machine. Several are written as a list and tried in its order. Active Directory's global catalogue is on port 3269 (`ldaps`) and 3268."},
		{name: "starttls", def: "false", set: boolean(&l.StartTLS), doc: "Whether `ldap://` is encrypted by StartTLS. It is never gone on without."},
		{name: "bind_dn", def: `""`, set: text(&l.BindDN, anyText), doc: "Who asks: a DN, or for Active Directory `user@domain`. `\"\"` asks as nobody. It needs to read addresses and nothing else."},
		{name: "password", unset: "none", set: d.marked(where+"password", secret(&l.Password)), doc: "Its password."},
		{name: "password_file", unset: "none", set: d.marked(where+"password_file", secretFile(&l.Password)), doc: "The file that holds the password, and nothing else."},
		{name: "base", required: true, example: `"dc=example,dc=com"`, set: d.marked(where+"base", text(&l.Base, anyText)), doc: "The DN below which recipients are looked for. `\"\"` is the whole forest, at a global catalogue only."},
		{name: "filter", unset: "see [sources](sources.md#ldap)", set: d.marked(where+"filter", text(&l.Filter, someText)),
			doc: "Which entries are recipients (RFC 4515). `{address}`, `{user}` and `{domain}` stand for the recipient, escaped. A filter without any of them is a condition beside the default, which finds `mail`, `proxyAddresses` and `mailLocalAddress`."},
		{name: "attributes", unset: "`mail`, `proxyAddresses`, `mailLocalAddress`", set: d.marked(where+"attributes", takeAttributes(&l.Attributes)), doc: "With `mode = \"sync\"`: the attributes that hold addresses."},
		{name: "page_size", def: "1000", set: d.marked(where+"page_size", integer(&l.PageSize, 1, 100000)), doc: "With `mode = \"sync\"`: entries that are asked for at once (RFC 2696). Active Directory allows 1000."},
	}
	keys = append(keys, l.syncKeys(d, where, "`live` asks the server about each recipient; `sync` pulls all addresses, then what changes, and answers from the copy, which holds hashes and no readable address.")...)
	return append(keys, l.Asked.keys(d, where, "How long one question may take, all servers included; with `mode = \"sync\"`, how long one page may.")...)
}

func (s *SQL) keys(d *decoder, where string) []key {
	keys := []key{
		{name: "url", required: true, example: `"postgres://USER@HOST/NAME"`, set: d.marked(where+"url", takeURL(&s.URL, "postgres", "postgresql", "mysql", "mariadb", "sqlite")),
			doc: "The database: `postgres://USER@HOST/NAME`, `mysql://USER@HOST/NAME` (MariaDB too) or `sqlite:///PATH`."},
		{name: "password", unset: "as the URL has it", set: d.marked(where+"password", secret(&s.Password)), doc: "The user's password."},
		{name: "password_file", unset: "none", set: d.marked(where+"password_file", secretFile(&s.Password)), doc: "The file that holds the password, and nothing else."},
		{name: "query", required: true, example: queryExample, set: d.marked(where+"query", text(&s.Query, someLines)),
			doc: "One SELECT. `{address}`, `{user}` and `{domain}` stand for the recipient in lower case, as parameters, never as text; `$1` and `?` are the address too. A row means that the recipient exists, unless its first column is NULL, false or 0, or a text that says so (`n`, `no`, `f`, `false`, nothing). With `mode = \"sync\"`: a SELECT of one column, every address."},
	}
	keys = append(keys, s.syncKeys(d, where, "`live` asks the database about each recipient; `sync` lists all addresses `every` so often and answers from the copy, which holds hashes and no readable address.")...)
	return append(keys, s.Asked.keys(d, where, "How long one question may take.")...)
}

func (h *HTTP) keys(d *decoder, where string) []key {
	keys := []key{
		{name: "url", required: true, example: `"https://HOST/PATH"`, set: d.marked(where+"url", takeURL(&h.URL, "https", "http")),
			doc: "What is asked, by GET with `address=` added to its query: 200 is exists, 404 is missing, anything else defers the mail."},
		{name: "token", unset: "none", set: d.marked(where+"token", secret(&h.Token)), doc: "Sent as `Authorization: Bearer TOKEN` (RFC 6750)."},
		{name: "token_file", unset: "none", set: d.marked(where+"token_file", secretFile(&h.Token)), doc: "The file that holds the token, and nothing else; `password_file` means the same."},
		{name: "password_file", hidden: true, set: d.marked(where+"password_file", secretFile(&h.Token))},
	}
	return append(keys, h.Asked.keys(d, where, "How long one question may take.")...)
}

// someLines is someText in which lines may end.
func someLines(s string) (string, error) {
	if _, err := someText(strings.NewReplacer("\n", " ", "\r", " ", "\t", " ").Replace(s)); err != nil {
		return "", err
	}
	return s, nil
}

func takeURL(dst **url.URL, schemes ...string) setter { return text(dst, parseURL(schemes...)) }

// takeURLs takes one URL, or a list.
func takeURLs(dst *[]*url.URL, schemes ...string) setter {
	many := list(dst, parseURL(schemes...))
	return func(d *decoder, n *node) {
		if n.kind == kindText {
			if u, ok := one(d, n, parseURL(schemes...)); ok {
				*dst = []*url.URL{u}
			}
			return
		}
		many(d, n)
		if n.kind == kindArray && len(n.elems) == 0 {
			d.bad(n, "name one server at least", "this may not be empty")
		}
	}
}

func parseURL(schemes ...string) func(string) (*url.URL, error) {
	return func(s string) (*url.URL, error) {
		u, err := readURL(s)
		if err == nil && (u.Host != "" || u.Path != "" && (u.Scheme == "sqlite" || u.Scheme == "ldapi")) {
			for _, scheme := range schemes {
				if u.Scheme == scheme {
					return u, nil
				}
			}
		}
		// The text itself is not shown: it may hold a password.
		for _, scheme := range schemes {
			if strings.HasPrefix(s, scheme+"://") {
				return nil, hinted{"this is not a whole URL: " + urlTrouble(u, err), "write " + scheme + "://HOST:PORT/…, with a number as the port, and %XX for signs such as / @ # in a user or password"}
			}
		}
		return nil, hinted{"this is not a URL of a kind known here", "it begins with " + strings.Join(schemes, "://, ") + "://"}
	}
}

// urlTrouble is what is wrong with a URL, without the URL.
func urlTrouble(u *url.URL, err error) string {
	var bad *url.Error
	switch {
	case err == nil && u.Host == "":
		return "it names no host"
	case errors.As(err, &bad) && strings.Contains(bad.Err.Error(), "port"):
		return "its port is no number"
	}
	return "it has a sign where none may be"
}

// readURL is url.Parse that knows ldapi://%2FPATH too, whose path stands where a host would.
func readURL(s string) (*url.URL, error) {
	rest, local := strings.CutPrefix(s, "ldapi://")
	if !local {
		return url.Parse(s)
	}
	path, err := url.PathUnescape(rest)
	return &url.URL{Scheme: "ldapi", Path: path}, err
}

func takeAttributes(dst *[]string) setter {
	many := list(dst, func(s string) (string, error) {
		if s == "" || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") != "" {
			return "", hinted{fmt.Sprintf("%q is not the name of an attribute", s), `write the attribute's name alone, as in "mail"`}
		}
		return s, nil
	})
	return func(d *decoder, n *node) {
		many(d, n)
		if n.kind == kindArray && len(n.elems) == 0 {
			d.bad(n, `leave it out, or write ["mail"]`, "this may not be empty")
		}
	}
}

// takePEM reads a file of certificates.
func takePEM(dst *string) setter {
	return func(d *decoder, n *node) {
		path, ok := one(d, n, someText)
		if !ok {
			return
		}
		data, err := os.ReadFile(d.path(path))
		if err != nil {
			d.cannotRead(n, path, err, "")
			return
		}
		if err := checkPEM(data); err != nil {
			hint := ""
			var h hinted
			if errors.As(err, &h) {
				hint = h.hint
			}
			d.bad(n, hint, "%s: %v", path, err)
			return
		}
		*dst = string(data)
	}
}

// asked is what the source is asked by, nil for other kinds.
func (s *Source) asked() *Asked {
	switch {
	case s.LDAP != nil:
		return &s.LDAP.Asked
	case s.SQL != nil:
		return &s.SQL.Asked
	case s.HTTP != nil:
		return &s.HTTP.Asked
	}
	return nil
}

// checkPEM says why no certificate can be taken from a file, if so.
func checkPEM(data []byte) error {
	if x509.NewCertPool().AppendCertsFromPEM(data) {
		return nil
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("its certificate is not understood: %w", err)
		}
	}
	return hinted{"it holds no certificate in PEM form", "it begins with -----BEGIN CERTIFICATE-----"}
}

// withoutEffect warns of keys that the section's mode does not look at.
func (c *Config) withoutEffect(d *decoder, s *namedSource, a *Asked) {
	keys, mode := []string{"every", "full_every", "page_size", "attributes"}, "live"
	if a.Sync {
		keys, mode = []string{"exists_for", "missing_for"}, "sync"
	}
	for _, k := range d.written(s, keys...) {
		d.warn(d.places[s.where()+k], "take it out, or change the mode", "%s: it has no effect with mode = %q", k, mode)
	}
	if a.Sync && c.State == "" {
		d.warn(s.at, "name a folder with state =", "[source.%s] has a copy that is lost at each restart, for there is no state folder", s.name)
	}
}

// checkAsked looks at keys of one section against each other, and fills in what [cache] gives.
func (c *Config) checkAsked(d *decoder, s *namedSource) {
	a := s.asked()
	if a == nil {
		return
	}
	if s.LDAP != nil {
		c.checkLDAP(d, s)
	}
	l := &a.Lives
	if l.MaxStale == 0 {
		l.MaxStale = c.Cache.MaxStale
	}
	l.MissingMax = l.MissingFor
	c.checkLives(d, s.where(), l)
	if two := d.written(s, "password", "token", "token_file", "password_file"); len(two) > 1 {
		d.fail(d.places[s.where()+two[1]], "keep one of the two", "%s: there is a %s as well", two[1], two[0])
	}
	c.withoutEffect(d, s, a)
	if !a.Sync {
		return
	}
	for _, longer := range []struct {
		key  string
		time time.Duration
	}{{"full_every", a.FullEvery}, {"max_stale", l.MaxStale}} {
		if longer.time > a.Every || longer.time == a.Every && longer.key == "full_every" {
			continue
		}
		for _, k := range []string{longer.key, "every"} { // one of the two was written
			if names := d.written(s, k); len(names) > 0 {
				d.fail(d.places[s.where()+k], "", "every (%s) is not shorter than %s (%s)", formatDuration(a.Every), longer.key, formatDuration(longer.time))
				break
			}
		}
	}
}

// written are those of the section's keys that the file has.
func (d *decoder) written(s *namedSource, keys ...string) (there []string) {
	for _, k := range keys {
		if at, marked := d.places[s.where()+k]; marked && at.line > 0 {
			there = append(there, k)
		}
	}
	return there
}

func (c *Config) checkLDAP(d *decoder, s *namedSource) {
	l := s.LDAP
	if len(d.written(s, "password", "password_file")) == 0 && l.BindDN != "" {
		d.fail(s.at, "write password_file = \"FILE\"; a directory server takes a name without a password for nobody (RFC 4513, 5.1.2)", "[source.%s] has a bind_dn and no password", s.name)
	}
	for _, u := range l.URLs {
		if l.StartTLS && u.Scheme != "ldap" {
			d.fail(s.at, "take starttls out: "+u.Scheme+":// needs none", "[source.%s]: starttls is for ldap:// alone", s.name)
			return
		}
	}
}
