package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/listen"
	"backstop/internal/mail"
	"backstop/internal/route"
)

// Config is a whole configuration, checked. It is not to be changed.
type Config struct {
	File       string // as it was named; "" for one made from flags
	Hostname   string // folded
	State      string // folder, absolute or from where the process runs; "": nothing is kept over a restart
	Mode       evidence.Mode
	Postmaster mail.Address // whom <postmaster> without a domain means
	ReplyText  ReplyText
	Drain      time.Duration // how long open transactions may go on at shutdown

	SMTP    SMTP
	Relay   Relay
	Cache   Cache
	Panel   Panel
	DNS     DNS
	Domains []Domain
	Routes  *route.Table // the same domains, by name and alias

	Outbound  *Outbound // nil: there is no such door
	Milter    Milter
	Policy    Policy
	Socketmap Socketmap
	TCPTable  TCPTable
	SRS       SRS

	Blocklists Blocklists

	places map[string]position // of keys that are looked at more closely by those who use them

	// Warnings is what is allowed and probably not meant, in the order of the file.
	Warnings []Problem
}

// ReplyText says whose words a peer reads when the downstream refuses.
type ReplyText uint8

const (
	ReplyOwn        ReplyText = iota // ours, which give nothing away
	ReplyDownstream                  // the downstream's
)

// SMTP is the MX front.
type SMTP struct {
	Listen           []listen.Spec
	MaxMessageSize   int64 // octets; 0: no limit
	MaxRecipients    int   // of one transaction
	MaxConnections   int
	PerClient        int
	Blocked          []netip.Prefix // refused outright
	ProxyProtocol    []netip.Prefix // who must send a PROXY header
	XClient          []netip.Prefix // who may send XCLIENT
	AllowBareNewline []netip.Prefix
	TLS              *TLS // nil: STARTTLS is not offered
	BannerDelay      time.Duration
	MaxErrors        int
	MaxCommands      int
	MaxLineLength    int // octets of a command line, its end included
	MaxTextLine      int // octets of a line of data; 0: no limit
	MaxReceived      int
	Timeouts         SMTPTimeouts
}

// TLS is the certificate, loaded, and where it came from.
type TLS struct {
	CertificateFile string
	KeyFile         string
	Certificate     tls.Certificate
}

// String names the certificate and keeps the key to itself.
func (t *TLS) String() string { return "certificate " + t.CertificateFile }

// SMTPTimeouts bound a client (RFC 5321, 4.5.3.2).
type SMTPTimeouts struct {
	Command time.Duration
	Data    time.Duration // between two reads of data
	Message time.Duration
	Session time.Duration
	MinRate int64 // octets a second after the first minute of data; 0: any
}

// Relay is what holds for every downstream.
type Relay struct {
	Connections int // open at once to one downstream
	Idle        int // kept open without work
	IdleTime    time.Duration
	CAFile      string
	Roots       *x509.CertPool // nil: the system's
	Timeouts    RelayTimeouts
}

// RelayTimeouts bound a downstream, step by step (RFC 5321, 4.5.3.2).
type RelayTimeouts struct {
	Connect, Banner, Hello, Mail, Rcpt, Data, Block, Final time.Duration
}

// Lives is how long answers about recipients are used.
type Lives struct {
	ExistsFor  time.Duration
	Refresh    time.Duration // asked again in the background when no more than this is left of ExistsFor
	MissingFor time.Duration // the first time; doubled with each repetition
	MissingMax time.Duration
	MaxStale   time.Duration // "exists" is used this long while the source is away
}

// Cache is what the directory remembers.
type Cache struct {
	Lives
	Size int // answers
}

// Panel serves metrics, health and look-ups.
type Panel struct {
	Listen        listen.Spec    // the zero Spec: not served
	LookupClients []netip.Prefix // who may ask whether a recipient exists
}

// Domain is one domain that is ours, with its sources resolved.
type Domain struct {
	route.Domain
	Sources []Source // in the order of Recipients

	Forged   bool // who claims to be of this domain from outside is refused
	Senders  Senders
	Guards   evidence.Guards // but for TagsDue, which time alone tells
	Exempt   Exempt
	BounceTo mail.Address // zero: what must not leave is refused
	DKIM     []DKIMKey
}

// SourceKind is a kind of recipient source.
type SourceKind uint8

const (
	SourceCallahead     SourceKind = iota // asks a mail server by RCPT
	SourceList                            // a file with an address or a local part a line
	SourceAnybody                         // everybody exists
	SourceAccess                          // a Sendmail access file
	SourceVirtusertable                   // a Sendmail table of virtual users
	SourcePostmap                         // a Postfix map
	SourceLDAP                            // a directory server
	SourceSQL                             // a database
	SourceHTTP                            // a web server
)

// Source is one recipient source of one domain, with every default filled in.
type Source struct {
	Kind      SourceKind
	Name      string    // in log, metrics and lookup: "callahead:smtp://…", "list:/…", "anybody", or the name of its section
	File      string    // of a list or a map
	Callahead Callahead // of a callahead
	LDAP      *LDAP     // of these kinds; domains that name the same section share it
	SQL       *SQL
	HTTP      *HTTP
}

// Callahead is how a mail server is asked.
type Callahead struct {
	Target      route.Relay
	From        mail.ReversePath
	Helo        string
	Timeout     time.Duration // of one question, connecting included
	Connections int
	Rate        float64 // questions a second
	Pipelining  bool
	WhenBlind   WhenBlind
	Lives       Lives
}

// WhenBlind is what follows from a server that says yes to anybody.
type WhenBlind uint8

const (
	BlindAccept WhenBlind = iota // its yes lets mail through, though it proves nothing
	BlindDefer                   // 451 until somebody who knows is asked
)

// Load reads and checks the file at path. An error is an *Errors.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		p := Problem{File: path, Message: fileError("the configuration", err).Error()}
		if os.IsNotExist(err) {
			p.Hint = "name another with --config, or do without: serve --listen :2525 --relay example.com=HOST:PORT"
		}
		return nil, &Errors{[]Problem{p}}
	}
	return Parse(path, data)
}

// Parse checks data as the content of the file name, from whose folder relative
// paths are taken. An error is an *Errors.
func Parse(name string, data []byte) (*Config, error) {
	root, problems := parseTree(name, data)
	if len(problems) > 0 {
		return nil, &Errors{problems}
	}
	c, err := decode(name, filepath.Dir(name), root)
	if err != nil {
		return nil, err
	}
	c.File = name
	return c, nil
}

// decode checks a document, whatever it came from.
func decode(name, dir string, root *node) (*Config, error) {
	c := &Config{}
	d := &decoder{
		name: name, dir: dir, top: root,
		names: map[string]claim{}, places: map[string]position{}, listened: map[string]position{},
		sources: map[string]*namedSource{},
	}
	d.root = c.keys(d)
	d.table(root, "", d.root)
	c.finish(d)
	if len(d.problems) == 0 {
		c.route(d)
	}
	if len(d.problems) > 0 {
		return nil, &Errors{sortProblems(d.problems)}
	}
	c.Warnings = sortProblems(d.warnings)
	if len(d.ordered) > 0 {
		c.places = d.places
	}
	return c, nil
}

// ProblemAt is what is wrong with a key of a [source.NAME], with its place in the file.
func (c *Config) ProblemAt(source, key string, err error) Problem {
	at := c.places["source."+source+"."+key]
	text := err.Error()
	for _, twice := range []string{"the URL: ", "the query: "} { // as plugs begin that know no keys
		text = strings.TrimPrefix(text, twice)
	}
	p := newProblem(at, "", "%s: %s", key, text)
	if p.File == "" {
		p.File = c.File
	}
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		p.Hint = h.Hint()
	}
	return p
}

// route makes the table; what it could refuse was refused with its line already.
func (c *Config) route(d *decoder) {
	domains := make([]route.Domain, len(c.Domains))
	for i := range c.Domains {
		domains[i] = c.Domains[i].Domain
	}
	table, err := route.NewTable(domains)
	if err != nil {
		d.problems = append(d.problems, Problem{File: d.name, Message: fmt.Sprint(err)})
	}
	c.Routes = table
}
