package config

import (
	"cmp"
	"errors"
	"os"
	"strings"
	"time"

	"backstop/internal/mail"
)

// namedSource is a [source.NAME] before its defaults are filled in. Of its parts one
// is set.
type namedSource struct {
	Source
	name string
	at   position
	used bool
}

func (s *namedSource) where() string { return "source." + s.name + "." }

// sourceType is one value of type, and what else the section then has.
type sourceType struct {
	name string
	doc  string
	keys func() []key
}

func sourceTypes(s *namedSource, d *decoder) []sourceType {
	return []sourceType{
		{"callahead", "A mail server, asked by RCPT.", func() []key {
			return s.Callahead.keys(d, s.where())
		}},
		{"ldap", "A directory server: OpenLDAP, Active Directory, any other.", func() []key {
			s.Kind, s.LDAP = SourceLDAP, &LDAP{}
			return s.LDAP.keys(d, s.where())
		}},
		{"sql", "A database: PostgreSQL, MySQL, MariaDB or SQLite.", func() []key {
			s.Kind, s.SQL = SourceSQL, &SQL{}
			return s.SQL.keys(d, s.where())
		}},
		{"http", "A web server of your own.", func() []key {
			s.Kind, s.HTTP = SourceHTTP, &HTTP{}
			return s.HTTP.keys(d, s.where())
		}},
	}
}

const blindDoc = "What follows when the server says yes to anybody and so proves nothing: `accept` lets the mail through to it, `defer` answers 451."

func (c *Callahead) keys(d *decoder, where string) []key {
	keys := []key{
		{name: "url", unset: "the relay of the domain", set: text(&c.Target, parseRelay),
			doc: "The server that is asked, written like a relay. Exchange answers truthfully on port 2525 only."},
		{name: "from", def: `"<>"`, set: text(&c.From, parseSender),
			doc: "The envelope sender of the question. Set it where the server refuses the null sender from probers (Microsoft 365)."},
		{name: "helo", unset: "`hostname`", set: text(&c.Helo, mail.FoldDomain), doc: "The name given in EHLO."},
		{name: "timeout", def: `"20s"`, set: duration(&c.Timeout, 100*time.Millisecond, 5*time.Minute),
			doc: "How long one question may take, connecting included. Exchange holds back each refusal for 5 seconds."},
		{name: "connections", def: "10", set: integer(&c.Connections, 1, 10000), doc: "Connections to this server at once for questions alone."},
		{name: "rate", def: `"50/s"`, set: text(&c.Rate, parseRate),
			doc: "Questions a second (`/s`), minute (`/m`) or hour (`/h`). What would be more is answered 451."},
		{name: "pipelining", def: "false", set: boolean(&c.Pipelining), doc: "Whether questions are sent in one packet. An Exchange 2010 gives wrong answers then."},
		{name: "when_blind", def: `"accept"`, set: choice(&c.WhenBlind, "accept", "defer"), doc: blindDoc},
	}
	lives := c.Lives.keys(d, where)
	for i := range lives {
		lives[i].unset = "as in `[cache]`"
	}
	return append(keys, lives...)
}

func sourceVariants() []variant {
	var all []variant
	for i, t := range sourceTypes(&namedSource{}, &decoder{}) {
		doc := t.doc
		if i == 0 {
			doc = "Recipient sources with a name. `[source.NAME]` is used by writing NAME among the `recipients` of a domain.\n\n" + doc
		}
		kind := key{name: "type", unset: "required", doc: "`" + t.name + "`."}
		all = append(all, variant{"[source.NAME]` with `type = \"" + t.name + "\"", doc, append([]key{kind}, t.keys()...)})
	}
	return all
}

// builtin are the words of recipients that need no section.
var builtin = []string{"callahead", "anybody", "list", "access", "postmap", "virtusertable"}

// takeSources takes all [source.NAME].
func takeSources(d *decoder, n *node) {
	if n.kind != kindTable {
		d.fail(n.at, "write [source.NAME], with a name of your choice", "source: a section with a name is wanted, this is %s", n.kind)
		return
	}
	for _, f := range n.fields {
		if f.value.kind != kindTable {
			d.fail(f.at, "write [source.NAME], with a name of your choice, above it", "%q stands in [source] itself", f.name)
			continue
		}
		d.takeSource(f)
	}
}

func (d *decoder) takeSource(f field) {
	s := &namedSource{Source: Source{Name: f.name}, name: f.name, at: f.at}
	for _, b := range builtin {
		if f.name == b {
			d.fail(f.at, "choose another name", "%q is a word of its own among recipients", f.name)
		}
	}
	if strings.ContainsAny(f.name, ": ") || f.name == "" {
		d.fail(f.at, "choose a name without colon and space", "a source cannot be named %q", f.name)
	}
	d.sources[f.name] = s
	d.ordered = append(d.ordered, s)
	where := "[source." + f.name + "]"
	kind := f.value.field("type")
	if kind == nil {
		d.fail(f.value.at, `write type = "ldap", "sql", "http" or "callahead"`, "%s has no type", where)
		return
	}
	types := sourceTypes(s, d)
	var names []string
	for _, t := range types {
		names = append(names, t.name)
		if kind.value.kind == kindText && kind.value.text == t.name {
			d.table(f.value, where, append([]key{{name: "type", set: func(*decoder, *node) {}}}, t.keys()...))
			return
		}
	}
	d.key = "type"
	if d.want(kind.value, kindText) {
		hint := didYouMean(kind.value.text, names)
		switch kind.value.text {
		case "postgres", "postgresql", "mysql", "mariadb", "sqlite":
			hint = `write type = "sql"; the url says which database`
		case "ldaps", "ad", "openldap", "activedirectory":
			hint = `write type = "ldap"`
		case "https", "web", "url":
			hint = `write type = "http"`
		}
		d.bad(kind.value, hint, "%q is not known", kind.value.text)
	}
}

// sourceRef is one entry of recipients before the sections it may name are known.
type sourceRef struct {
	Source
	named string // the [source.NAME] that is meant
	at    position
}

// takeRecipient reads one entry of recipients.
func (d *decoder) takeRecipient(n *node) (sourceRef, bool) {
	ref := sourceRef{at: n.at, Source: Source{Name: n.text}}
	word, rest, hasRest := strings.Cut(n.text, ":")
	switch {
	case !d.want(n, kindText):
		return ref, false
	case n.text == "":
		d.bad(n, "write callahead, list:FILE, anybody or the name of a [source.NAME]", "this may not be empty")
		return ref, false
	case n.text == "callahead":
		return ref, true
	case n.text == "anybody":
		ref.Kind = SourceAnybody
		return ref, true
	case !hasRest:
		ref.named = n.text
		return ref, true
	case word == "callahead":
		target, err := parseRelay(rest)
		if err != nil {
			d.badValue(n, err)
			return ref, false
		}
		ref.Callahead.Target = target
		return ref, true
	}
	for _, f := range fileSources {
		if word == f.word {
			return ref, d.takeFile(n, rest, &ref.Source, f)
		}
	}
	d.bad(n, cmp.Or(misspelling(word, []string{"list", "callahead", "access", "postmap", "virtusertable"}),
		"write callahead, callahead:smtp://HOST:PORT, list:FILE, access:FILE, virtusertable:FILE, postmap:FILE, anybody, or the name of a [source.NAME]"), "%q is not a kind of source", word)
	return ref, false
}

// fileSource is a word of recipients that is followed by a file.
type fileSource struct {
	word, example, holds string
	kind                 SourceKind
}

// accessFile is what stands among senders too.
var accessFile = fileSource{"access", "/etc/mail/access", "the file is the text from which Sendmail's makemap makes the access map", SourceAccess}

var fileSources = []fileSource{
	{"list", "/etc/backstop/example.com", "the file has an address or a local part a line; `backstop directory import --to FILE` makes one, and one that is meant to be empty holds a comment", SourceList},
	accessFile,
	{"virtusertable", "/etc/mail/virtusertable", "the file is the text from which Sendmail's makemap makes the virtusertable", SourceVirtusertable},
	{"postmap", "/etc/postfix/relay_recipients", "the file is the text from which postmap makes the map", SourcePostmap},
}

func (d *decoder) takeFile(n *node, path string, s *Source, f fileSource) bool {
	if path == "" {
		d.bad(n, "write "+f.word+":"+f.example, "the file is missing")
		return false
	}
	s.Kind, s.File = f.kind, d.path(path)
	s.Name = f.word + ":" + s.File
	if f.kind != SourceList && strings.HasSuffix(path, ".db") {
		d.bad(n, "write "+f.word+":"+strings.TrimSuffix(path, ".db"), "%s is the finished map, and what is read is the text that it was made from", path)
		return false
	}
	if err := readable(s.File); err != nil {
		d.cannotRead(n, path, err, f.holds)
		return false
	}
	return true
}

// readable opens the file as its reader will.
func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		return errors.New("it is a folder")
	}
	return err
}
