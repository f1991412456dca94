package route

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"backstop/internal/mail"
)

// Scheme is the protocol spoken with a relay, and the kind of socket.
type Scheme uint8

const (
	SMTP     Scheme = iota // smtp://HOST[:PORT], RFC 5321
	LMTP                   // lmtp://HOST:PORT, RFC 2033
	LMTPUnix               // lmtp+unix:///PATH
	schemes
)

var schemeNames = [schemes]string{"smtp", "lmtp", "lmtp+unix"}

func (s Scheme) String() string { return schemeNames[s] }

// TLSMode says what is wanted of STARTTLS (RFC 3207) towards a relay.
type TLSMode uint8

const (
	TLSOpportunistic TLSMode = iota // used when offered, certificate not checked
	TLSOff                          // never used
	TLSRequire                      // nothing is sent without it, certificate checked
	tlsModes
)

var tlsNames = [tlsModes]string{"opportunistic", "off", "require"}

func (m TLSMode) String() string { return tlsNames[m] }

// ClientHandover is the way the true client's address is handed on to a relay that trusts us.
type ClientHandover uint8

const (
	HandoverNone     ClientHandover = iota
	HandoverXCLIENT                 // Postfix XCLIENT: its access rules see the client too
	HandoverXFORWARD                // Postfix XFORWARD: its log sees the client
	HandoverPROXY                   // a PROXY protocol header before the banner
	handovers
)

var handoverNames = [handovers]string{"none", "xclient", "xforward", "proxy"}

func (h ClientHandover) String() string { return handoverNames[h] }

// DefaultPort is the port of smtp://HOST (RFC 5321, 4.5.4.2).
const DefaultPort = 25

// Relay is one downstream as a relay URL names it. It is comparable: equal
// relays share one pool of connections. The zero value is no relay.
type Relay struct {
	Scheme Scheme
	Host   string // folded name, or IP address without brackets; "" for LMTPUnix
	Port   uint16 // 0 for LMTPUnix
	Path   string // of the socket, for LMTPUnix
	TLS    TLSMode
	Client ClientHandover
}

// RelayError is a relay URL that cannot be used.
type RelayError struct {
	URL     string
	Problem string
	hint    string
}

func (e *RelayError) Error() string {
	return "relay " + strconv.Quote(e.URL) + ": " + e.Problem
}

// Hint says what to write instead, "" where that cannot be guessed.
func (e *RelayError) Hint() string { return e.hint }

// ParseRelay reads smtp://HOST[:PORT], lmtp://HOST:PORT or lmtp+unix:///PATH,
// each with ?tls=off|opportunistic|require and &client=xclient|xforward|proxy.
// Every error is a *RelayError.
func ParseRelay(s string) (Relay, error) {
	fail := func(problem, hint string) (Relay, error) {
		return Relay{}, &RelayError{URL: hidePassword(s), Problem: problem, hint: hint}
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == 0x7f {
			return fail("white space and control characters are not allowed", "")
		}
	}
	name, rest, ok := strings.Cut(s, "://")
	if !ok {
		hint := "a relay is written smtp://HOST:PORT, lmtp://HOST:PORT or lmtp+unix:///PATH"
		if s != "" {
			if _, err := ParseRelay("smtp://" + s); err == nil {
				hint = "write smtp://" + s
			}
		}
		return fail("not a relay URL", hint)
	}
	scheme, ok := parseScheme(name)
	if !ok {
		hint := "the schemes are smtp, lmtp and lmtp+unix"
		if strings.EqualFold(name, "smtps") {
			hint = "TLS from the first byte is not spoken; write smtp://HOST?tls=require for STARTTLS"
		}
		return fail("the scheme "+strconv.Quote(name)+" is not known", hint)
	}
	if strings.Contains(rest, "#") {
		return fail("a relay URL has no fragment (#…)", "")
	}
	target, query, _ := strings.Cut(rest, "?")
	r := Relay{Scheme: scheme}
	if problem, hint := r.setTarget(target); problem != "" {
		return fail(problem, hint)
	}
	if problem, hint := r.setOptions(query); problem != "" {
		return fail(problem, hint)
	}
	return r, nil
}

func parseScheme(name string) (Scheme, bool) {
	for i, n := range schemeNames {
		if strings.EqualFold(n, name) {
			return Scheme(i), true
		}
	}
	return 0, false
}

// hidePassword keeps what stands before an "@" out of error messages and logs.
func hidePassword(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	if at := strings.LastIndexByte(rest[:end], '@'); at >= 0 {
		return scheme + "://…" + rest[at:]
	}
	return s
}

func (r *Relay) setTarget(target string) (problem, hint string) {
	if r.Scheme == LMTPUnix {
		return r.setPath(target)
	}
	if strings.Contains(target, "@") {
		return "a relay URL holds no user name or password", "nobody logs in there: let that server take mail from this gateway's address"
	}
	target = strings.TrimSuffix(target, "/")
	if strings.Contains(target, "/") {
		return "a path means nothing here", "a socket in the file system is written lmtp+unix:///PATH"
	}
	host, port := splitHostPort(target)
	if host == "" {
		return "the host is missing", "a relay is written " + r.Scheme.String() + "://HOST:PORT"
	}
	if err := r.setHost(host); err != "" {
		return err, ""
	}
	return r.setPort(port)
}

func (r *Relay) setPath(target string) (problem, hint string) {
	if !strings.HasPrefix(target, "/") {
		return "the path of the socket must be absolute", "three slashes: lmtp+unix:///run/dovecot/lmtp"
	}
	path, err := url.PathUnescape(target)
	if err != nil {
		return "the path has a % that is not followed by two hexadecimal digits", "a percent sign itself is written %25"
	}
	if strings.IndexByte(path, 0) >= 0 {
		return "the path holds a NUL", ""
	}
	if path == "/" {
		return "the path of the socket is missing", "three slashes: lmtp+unix:///run/dovecot/lmtp"
	}
	r.Path = path
	return "", ""
}

// splitHostPort parts host and port, where the port, colon included, may be missing.
// An IPv6 address with a port stands in brackets (RFC 3986, 3.2.2).
func splitHostPort(s string) (host, port string) {
	if strings.HasPrefix(s, "[") {
		if end := strings.IndexByte(s, ']'); end > 0 {
			return s[:end+1], s[end+1:]
		}
		return s, ""
	}
	if i := strings.IndexByte(s, ':'); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

func (r *Relay) setHost(host string) (problem string) {
	if in, ok := strings.CutPrefix(host, "["); ok {
		in, closed := strings.CutSuffix(in, "]")
		ip, err := netip.ParseAddr(in)
		if !closed || err != nil || !ip.Is6() {
			return strconv.Quote(host) + " is not an IPv6 address in brackets"
		}
		r.Host = ip.String()
		return ""
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		r.Host = ip.String()
		return ""
	}
	name, err := mail.FoldDomain(host)
	if err != nil {
		return strconv.Quote(host) + " is not a host name or an IP address"
	}
	r.Host = name
	return ""
}

func (r *Relay) setPort(port string) (problem, hint string) {
	if port == "" {
		if r.Scheme == LMTP {
			return "the port is missing: LMTP has no default (RFC 2033, 5)", "write lmtp://" + r.hostLiteral() + ":24 for example"
		}
		r.Port = DefaultPort
		return "", ""
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(port, ":"), 10, 16)
	if port[0] != ':' || err != nil || n == 0 {
		if strings.Count(port, ":") > 1 {
			hint = "an IPv6 address stands in brackets: [2001:db8::1]:25"
		}
		return strconv.Quote(strings.TrimPrefix(port, ":")) + " is not a port between 1 and 65535", hint
	}
	r.Port = uint16(n)
	return "", ""
}

func (r *Relay) setOptions(query string) (problem, hint string) {
	if query == "" {
		return "", ""
	}
	seen := map[string]bool{}
	for _, pair := range strings.Split(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if seen[key] {
			return "the option " + strconv.Quote(key) + " is given twice", ""
		}
		seen[key] = true
		ok := false
		switch key {
		case "tls":
			r.TLS, ok = choose[TLSMode](tlsNames[:], value)
			hint = "tls is off, opportunistic or require"
		case "client":
			r.Client, ok = choose[ClientHandover](handoverNames[:], value)
			hint = "client is xclient, xforward or proxy"
		default:
			return "the option " + strconv.Quote(key) + " is not known", "the options are tls and client"
		}
		if !ok {
			return strconv.Quote(value) + " is not a value of the option " + key, hint
		}
	}
	return "", ""
}

func choose[T ~uint8](names []string, value string) (T, bool) {
	for i, n := range names {
		if n == value {
			return T(i), true
		}
	}
	return 0, false
}

// IsZero says whether there is no relay.
func (r Relay) IsZero() bool { return r == Relay{} }

// LMTP says whether LMTP is spoken (RFC 2033).
func (r Relay) LMTP() bool { return r.Scheme != SMTP }

func (r Relay) hostLiteral() string {
	if strings.IndexByte(r.Host, ':') >= 0 {
		return "[" + r.Host + "]"
	}
	return r.Host
}

// String is the one canonical form of the URL: port always, options only where
// they are not the default. ParseRelay gives the same Relay back.
func (r Relay) String() string {
	if r.IsZero() {
		return ""
	}
	s := r.Scheme.String() + "://"
	if r.Scheme == LMTPUnix {
		s += (&url.URL{Path: r.Path}).EscapedPath()
	} else {
		s += r.hostLiteral() + ":" + strconv.Itoa(int(r.Port))
	}
	sep := "?"
	if r.TLS != TLSOpportunistic {
		s += sep + "tls=" + r.TLS.String()
		sep = "&"
	}
	if r.Client != HandoverNone {
		s += sep + "client=" + r.Client.String()
	}
	return s
}

// Address is what net.Dial wants: ("tcp", "host:port") or ("unix", path).
func (r Relay) Address() (network, addr string) {
	if r.Scheme == LMTPUnix {
		return "unix", r.Path
	}
	return "tcp", net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port)))
}
