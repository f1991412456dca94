package guide

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"backstop/internal/config"
	"backstop/internal/route"
)

// Guide is how to switch a server on.
type Guide struct {
	Product string   `json:"product"`
	Title   string   `json:"title"`
	Example bool     `json:"example"` // no configuration was at hand: the names are examples
	Domains []string `json:"domains"`
	Gateway string   `json:"gateway"` // the address of Backstop, as told
	About   string   `json:"about"`
	// Doors are those of Backstop that an MTA beside it is plugged into, as their sections are called.
	Doors []string `json:"doors,omitempty"`
	Steps []Step   `json:"steps"`
	// Config is what the configuration needs, in TOML; "": it has it.
	Config   string   `json:"config"`
	Warnings []string `json:"warnings,omitempty"`
	Tests    []Step   `json:"tests"` // for when all is in place

	// Name is the product as people write it, of an MTA beside Backstop.
	Name string `json:"-"`
	// Asks are all doors at which such an MTA may be asking: those that the configuration has, or
	// the one of Place.Door. Unix are those of them that are unix sockets.
	Asks, Unix []string `json:"-"`

	beside  bool   // of an MTA beside Backstop: what Backstop needs comes first
	options string // of commands
}

// Step is one thing to do. Commands are to be typed as they are.
type Step struct {
	Title string `json:"title"`
	Text  string `json:"text"`
	// File is where Lines are to be pasted, unchanged: main.cf, sendmail.mc, "exim: acl_check_rcpt", …
	File     string   `json:"file,omitempty"`
	Lines    []string `json:"lines,omitempty"`
	Commands []string `json:"commands,omitempty"`
}

// typed is a step of commands.
func typed(title, text string, commands []string) Step {
	return Step{Title: title, Text: text, Commands: commands}
}

// Place is where a server stands.
type Place struct {
	Config  *config.Config // nil: there is none, and example.com stands in
	Domain  string         // folded, a name or an alias; "": all that the configuration has
	Gateway string         // the address of Backstop as the server sees it; "": it is not known, or the same machine
	Door    string         // the one door to be used: milter, policy, socketmap, tcp_table or panel; "": as the configuration has them
	Options string         // what the commands of the guide need besides, with a blank before it: " --config FILE"
	// Doorless: Config lacks a door beside an MTA and says nothing of [smtp], so as it is it would be a gateway's.
	Doorless bool
	Local    []netip.Addr // the addresses of this machine, to find circles by
}

// Products are the servers for which there is a guide.
func Products() []string { return slices.Concat(Beside(), []string{"exchange", "domino"}) }

// Beside are those that stand beside Backstop and ask it, and not behind it.
func Beside() []string { return []string{"postfix", "sendmail", "exim"} }

// hinted is an error with advice.
type hinted struct{ text, hint string }

func (h *hinted) Error() string { return h.text }

// Hint is the advice.
func (h *hinted) Hint() string { return h.hint }

// For makes the guide for a product.
func For(product string, p Place) (Guide, error) {
	if makes := map[string]func(*mta) (Guide, error){"postfix": postfix, "sendmail": sendmail, "exim": exim}[product]; makes != nil {
		return p.forMTA(product, makes)
	}
	makes := map[string]func(*site) Guide{"exchange": exchange, "domino": domino}[product]
	if makes == nil {
		return Guide{}, fmt.Errorf("there is no guide for %q; there are %s", product, strings.Join(Products(), ", "))
	}
	if p.Door != "" {
		return Guide{}, &hinted{product + " stands behind Backstop, and asks at no door", "leave --door out"}
	}
	s, err := p.site(product)
	if err != nil {
		return Guide{}, err
	}
	g := makes(s)
	g.finish(product, &p, s.domains)
	return g, nil
}

// finish fills in what every guide has.
func (g *Guide) finish(product string, p *Place, domains []config.Domain) {
	g.Product, g.Example, g.Gateway, g.options = product, p.Config == nil, p.Gateway, p.Options
	for _, d := range domains {
		g.Domains = append(g.Domains, d.Name)
	}
}

// site is what a guide is made from.
type site struct {
	domains []config.Domain
	gateway string
	own     string // hostname line of an example's configuration
	options string // of commands
}

// exampleGateway stands for the gateway's address where that is not told.
const exampleGateway = "192.0.2.25"

func (p *Place) site(product string) (*site, error) {
	s := &site{gateway: p.Gateway, options: p.Options}
	if s.gateway == "" {
		s.gateway = exampleGateway
	}
	if p.Config == nil {
		return s, p.example(s, product)
	}
	if err := p.find(s); err != nil {
		return nil, err
	}
	for _, d := range s.domains {
		if d.Relay.IsZero() && p.Domain != "" {
			return nil, fmt.Errorf("%s has no relay, so Backstop does not stand before a server of it", d.Name)
		}
		if d.Relay.Scheme != route.SMTP && p.Domain != "" {
			return nil, fmt.Errorf("the relay of %s is %s, and %s is spoken to by SMTP", d.Name, d.Relay, product)
		}
	}
	s.domains = slices.DeleteFunc(s.domains, func(d config.Domain) bool { return d.Relay.IsZero() || d.Relay.Scheme != route.SMTP })
	if len(s.domains) == 0 {
		return nil, fmt.Errorf("no domain of %s has a relay with smtp://", p.Config.File)
	}
	return s, nil
}

// example stands in for a configuration: one domain, whose relay has the server's name.
func (p *Place) example(s *site, server string) error {
	name := p.Domain
	if name == "" {
		name = "example.com"
	}
	relay, err := route.ParseRelay("smtp://" + server + ".internal." + name)
	if err != nil {
		return err
	}
	s.own = "hostname = \"mx." + name + "\"\n\n"
	s.domains = []config.Domain{{Domain: route.Domain{Name: name, Relay: relay}}}
	return nil
}

// find takes the domains from the configuration.
func (p *Place) find(s *site) error {
	for _, d := range p.Config.Domains {
		if p.Domain == "" || d.Name == p.Domain || slices.Contains(d.Aliases, p.Domain) {
			s.domains = append(s.domains, d)
		}
	}
	if len(s.domains) == 0 {
		return fmt.Errorf("%s is not a domain of %s", p.Domain, p.Config.File)
	}
	return nil
}

// hosts are the relays' hosts, each once.
func (s *site) hosts() (hosts []string) {
	for _, d := range s.domains {
		if !slices.Contains(hosts, d.Relay.Host) {
			hosts = append(hosts, d.Relay.Host)
		}
	}
	return hosts
}

// names are all names of the domains.
func (s *site) names() (names []string) {
	for _, d := range s.domains {
		names = append(append(names, d.Name), d.Aliases...)
	}
	return names
}

// domainBlock is the [[domain]] of d with what matters here.
func domainBlock(d *config.Domain, recipients string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[domain]]\nname       = %q\n", d.Name)
	if len(d.Aliases) > 0 {
		quoted := make([]string, len(d.Aliases))
		for i, a := range d.Aliases {
			quoted[i] = fmt.Sprintf("%q", a)
		}
		fmt.Fprintf(&b, "aliases    = [%s]\n", strings.Join(quoted, ", "))
	}
	fmt.Fprintf(&b, "relay      = %q\n", d.Relay.String())
	if recipients != "" {
		fmt.Fprintf(&b, "recipients = [%q]\n", recipients)
	}
	return b.String()
}

// tests show whether all is in place: one recipient of a domain on each host, and Backstop.
func (s *site) tests(port uint16, refusal string) []Step {
	var lines []string
	for _, h := range s.hosts() {
		i := slices.IndexFunc(s.domains, func(d config.Domain) bool { return d.Relay.Host == h })
		at := s.domains[i].Relay
		if port != 0 {
			at.Port = port
		}
		_, server := at.Address()
		for _, user := range []string{unknown, "postmaster"} {
			lines = append(lines, "swaks --server "+server+" --quit-after RCPT \\", "    --from '<>' --to "+user+"@"+s.domains[i].Name)
		}
	}
	return []Step{
		typed("Test by hand, from the gateway", "Nothing is sent: swaks stops after RCPT. The first answer must be "+refusal+
			", the second 250. A 250 to both means that the server still takes everybody.", lines),
		typed("Test with Backstop", "No line may say blind or down, and nobody of this name may exist.",
			[]string{"backstop check --ask" + s.options, "backstop lookup " + unknown + "@" + s.domains[0].Name + s.options}),
	}
}

// unknown is a name that nobody can have.
const unknown = "no.such.user"
