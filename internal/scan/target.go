package scan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"backstop/internal/mail"
)

// Target is what to examine: a domain, or one server for a domain.
type Target struct {
	Text   string // as it was given
	Domain string // whose recipients are asked for
	Host   string // the server; "": the MX hosts of Domain
	Port   string
}

// Resolver is the DNS as it is needed here. Errors are *net.DNSError.
type Resolver interface {
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
}

type hinted struct{ text, hint string }

func (h *hinted) Error() string { return h.text }

// Hint is the advice.
func (h *hinted) Hint() string { return h.hint }

func hint(advice, format string, args ...any) error {
	return &hinted{fmt.Sprintf(format, args...), advice}
}

// ParseTarget reads a domain, or smtp://HOST[:PORT] with the domain beside it. port is for a target that has
// none of its own; "": 25.
func ParseTarget(text, domain, port string) (Target, error) {
	t := Target{Text: text, Port: "25"}
	if port != "" {
		if !isPort(port) {
			return t, hint("write --port 2525", "%q is no port", port)
		}
		t.Port = port
	}
	if strings.Contains(text, "://") {
		return t.server(domain, port)
	}
	switch {
	case strings.ContainsRune(text, '@'):
		return t, hint("name the domain alone: the addresses are made up here", "%q is an address, and no domain", text)
	case domain != "":
		return t, hint("write smtp://HOST --domain DOMAIN, or the domain alone", "--domain goes with a server, and %q is none", text)
	}
	if _, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return t, hint("write smtp://"+text+" --domain DOMAIN", "%q is the address of a server, and no domain", text)
	}
	folded, err := mail.FoldDomain(text)
	if err != nil {
		return t, hint("write example.com, or smtp://mx.example.com:25 --domain example.com", "%q is no domain", text)
	}
	t.Domain = folded
	return t, nil
}

// server reads the form with a URL.
func (t Target) server(domain, port string) (Target, error) {
	u, err := url.Parse(t.Text)
	if err != nil || u.Scheme != "smtp" || u.Hostname() == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return t, hint("write smtp://mx.example.com:25", "%q is not smtp://HOST[:PORT]", t.Text)
	}
	t.Host = strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if _, err := netip.ParseAddr(t.Host); err != nil {
		if t.Host, err = mail.FoldDomain(t.Host); err != nil {
			return t, hint("write smtp://mx.example.com:25", "%q is no name of a server", u.Hostname())
		}
	}
	if own := u.Port(); own != "" {
		if !isPort(own) {
			return t, hint("write smtp://mx.example.com:25", "%q is no port", own)
		}
		if port != "" && port != own {
			return t, hint("give the port once", "the target says port %s, and --port %s", own, port)
		}
		t.Port = own
	}
	if domain == "" {
		return t, hint("name one that it receives mail for, with --domain", "a server alone does not say for which domain to ask")
	}
	if t.Domain, err = mail.FoldDomain(domain); err != nil {
		return t, hint("write --domain example.com", "%q is no domain", domain)
	}
	return t, nil
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// place is one address of one host.
type place struct {
	host string // as the MX record has it, or the address
	addr string // HOST:PORT to connect to
}

const (
	maxHosts = 4 // MX hosts that are tried
	maxAddrs = 2 // addresses of each
)

// hosts are the servers to try, in order, and what is to be said of how they were found; none: why there is none.
func (t *Target) hosts(ctx context.Context, r Resolver) (hosts []string, said string) {
	if t.Host != "" {
		return []string{t.Host}, ""
	}
	if strings.HasPrefix(t.Domain, "[") {
		return []string{strings.TrimPrefix(strings.Trim(t.Domain, "[]"), "ipv6:")}, ""
	}
	list, err := r.LookupMX(ctx, t.Domain)
	var dns *net.DNSError
	if err != nil && !(errors.As(err, &dns) && dns.IsNotFound) {
		return nil, "The DNS could not say which servers take mail for " + t.Domain + " (" + reason(err) + "). Ask again later, or name a name server with --resolver."
	}
	for _, mx := range list {
		if mx.Host == "." {
			if len(list) == 1 {
				return nil, t.Domain + " takes no mail at all: its MX record is the null MX (RFC 7505), so there is no server to examine."
			}
			continue
		}
		hosts = append(hosts, strings.TrimSuffix(mx.Host, "."))
	}
	if len(hosts) == 0 {
		return []string{t.Domain}, t.Domain + " has no MX record, so its own address is asked (RFC 5321, 5.1)."
	}
	return hosts, ""
}

// places are the addresses of a host, IPv4 first: from more places it can be reached.
func places(ctx context.Context, r Resolver, host, port string) ([]place, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []place{{host, net.JoinHostPort(ip.String(), port)}}, nil
	}
	found, err := r.LookupIPAddr(ctx, host)
	var four, six []place
	for _, a := range found {
		p := place{host, net.JoinHostPort(a.String(), port)}
		if a.IP.To4() != nil {
			four = append(four, p)
		} else {
			six = append(six, p)
		}
	}
	all := append(four[:min(len(four), maxAddrs)], six[:min(len(six), 1)]...)
	if len(all) > 0 {
		return all[:min(len(all), maxAddrs)], nil
	}
	if err == nil {
		err = errors.New("it has no address")
	}
	return nil, err
}
