package guide

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"backstop/internal/config"
	"backstop/internal/dkim"
)

// Zone is what the DNS should say about domains.
type Zone struct {
	Example bool     `json:"example"` // no configuration was at hand: the names are examples
	Domains []string `json:"domains"`
	Records []Record `json:"records"`
}

// Record is one TXT record.
type Record struct {
	Domain  string `json:"domain"`
	Kind    string `json:"kind"` // dkim, spf, dmarc
	Name    string `json:"name"` // without the dot at the end
	Text    string `json:"text"` // in one piece
	Zone    string `json:"zone"` // as it stands in a zone file
	Example bool   `json:"example"`
	About   string `json:"about"`
	// What the DNS has, once it was asked: published, missing, differs, several, there (an SPF or DMARC record, which only its
	// owner can judge), unknown; "": it was not asked.
	Now   string   `json:"now,omitempty"`
	Found []string `json:"found,omitempty"` // what stands there; of unknown: why
}

const (
	aboutSPF = "An example: instead of mx, name every server that sends mail of this domain (ip4:, ip6:, a:, include:). " +
		"~all is a soft no to all others; make it -all when nobody is missing. There may be one such record only."
	aboutDMARC = "An example: reports go to the address in rua, and p=none asks for nothing else. When they show that all of " +
		"your own mail passes, p=quarantine and then p=reject."
	aboutSigns   = "It signs: publish it before the first mail leaves signed."
	aboutPublish = "It does not sign (sign = false): publish it before it does, and leave it for ten days after it did, for mail on its way."
)

// DNS makes the records for the domains that the configuration has, or for example.com: those of its
// DKIM keys, and examples of SPF and DMARC.
func DNS(p Place) (Zone, error) {
	z := Zone{Example: p.Config == nil}
	domains := []config.Domain{{}}
	if domains[0].Name = p.Domain; p.Domain == "" {
		domains[0].Name = "example.com"
	}
	if p.Config != nil {
		domains = p.Config.Domains
	}
	for i := range domains {
		d := &domains[i]
		for _, name := range append([]string{d.Name}, d.Aliases...) {
			if p.Domain != "" && p.Domain != name && p.Domain != d.Name {
				continue
			}
			z.Domains = append(z.Domains, name)
			if err := z.addKeys(d, name); err != nil {
				return Zone{}, err
			}
			z.add(Record{Domain: name, Kind: "spf", Name: name, Text: "v=spf1 mx ~all", Example: true, About: aboutSPF})
			z.add(Record{Domain: name, Kind: "dmarc", Name: "_dmarc." + name, Text: "v=DMARC1; p=none; rua=mailto:postmaster@" + name, Example: true, About: aboutDMARC})
		}
	}
	if len(z.Domains) == 0 {
		return Zone{}, fmt.Errorf("%s is not a domain of %s", p.Domain, p.Config.File)
	}
	return z, nil
}

// addKeys adds the records of a domain's keys under one of its names: mail is signed for the name in its From.
func (z *Zone) addKeys(d *config.Domain, domain string) error {
	for _, k := range d.DKIM {
		name, text, err := dkim.Key{Domain: domain, Selector: k.Selector, Private: k.Key}.Record()
		if err != nil {
			return fmt.Errorf("%s: %w", k.File, err)
		}
		about := aboutSigns
		if !k.Sign {
			about = aboutPublish
		}
		z.add(Record{Domain: domain, Kind: "dkim", Name: name, Text: text, About: "The key in " + k.File + ". " + about})
	}
	return nil
}

func (z *Zone) add(r Record) {
	r.Zone = zoneLine(r.Name, r.Text)
	z.Records = append(z.Records, r)
}

// maxString is how many octets one string of a TXT record holds (RFC 1035, 3.3.14).
const maxString = 255

// zoneLine writes a TXT record for a zone file (RFC 1035, 5.1), in strings of at most 255 octets.
func zoneLine(name, text string) string {
	var parts []string
	for part := range slices.Chunk([]byte(text), maxString) {
		parts = append(parts, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(string(part))+`"`)
	}
	if len(parts) == 1 {
		return name + ". IN TXT " + parts[0]
	}
	return name + ". IN TXT ( " + strings.Join(parts, "\n    ") + " )"
}

// Compare notes what the DNS said of the record's name. An error is a *net.DNSError; one that does not say that there is
// nothing leaves it open.
func (r *Record) Compare(txt []string, err error) {
	r.Now, r.Found = "missing", nil
	var none *net.DNSError
	if errors.As(err, &none) && none.IsNotFound {
		return
	}
	if err != nil {
		r.Now, r.Found = "unknown", []string{err.Error()}
		return
	}
	for _, t := range txt {
		version, _, _ := strings.Cut(t, ";")
		version, _, _ = strings.Cut(strings.TrimSpace(version), " ")
		if r.Kind == "dkim" || r.Kind == "spf" && strings.EqualFold(version, "v=spf1") || r.Kind == "dmarc" && strings.EqualFold(version, "v=DMARC1") {
			r.Found = append(r.Found, t)
		}
	}
	switch {
	case len(r.Found) == 0:
	case len(r.Found) > 1:
		r.Now = "several"
	case r.Kind != "dkim":
		r.Now = "there"
	case publicKey(r.Found[0]) == publicKey(r.Text):
		r.Now = "published"
	default:
		r.Now = "differs"
	}
}

// publicKey is the p= of a DKIM record, in which white space does not count (RFC 6376, 3.2).
func publicKey(record string) string {
	for tag := range strings.SplitSeq(record, ";") {
		name, value, _ := strings.Cut(tag, "=")
		if strings.TrimSpace(name) == "p" {
			return strings.Join(strings.Fields(value), "")
		}
	}
	return ""
}

// now says what the DNS has in words.
func (r *Record) now() string {
	found := fmt.Sprintf("%q", r.Found)
	switch r.Now {
	case "published":
		return "published as it should be"
	case "missing":
		return "missing"
	case "there":
		return "there is one: " + found[1:len(found)-1]
	case "several":
		return "there are several, and receivers take none of them: " + found[1:len(found)-1]
	case "differs":
		return "there is another: " + found[1:len(found)-1]
	}
	return "cannot tell: " + strings.Join(r.Found, " ")
}

// Text is the records as a part of a zone file: what is to be adapted first is a comment there.
func (z *Zone) Text() string {
	var b strings.Builder
	if z.Example {
		comment(&b, "There is no configuration here: the names are examples. With --config FILE, they are yours.")
		b.WriteString(";\n")
	}
	comment(&b, "Records for the DNS, as a zone file has them; examples that must be adapted are comments. Whatever name your sending "+
		"server gives in HELO needs an SPF record of its own (\"v=spf1 a -all\"): bounces have no other sender.")
	for _, domain := range z.Domains {
		b.WriteString("\n; " + domain + "\n")
		for _, r := range z.Records {
			if r.Domain != domain {
				continue
			}
			b.WriteString("\n")
			r.write(&b)
		}
		if !slices.ContainsFunc(z.Records, func(r Record) bool { return r.Domain == domain && r.Kind == "dkim" }) {
			b.WriteString("\n")
			comment(&b, "DKIM. The configuration names no key for this name, so its mail is not signed: docs/keys.md says how to make one.")
		}
	}
	return b.String()
}

// write writes one record: with what to do, unless that is done.
func (r *Record) write(b *strings.Builder) {
	kind := strings.ToUpper(r.Kind) + ". "
	switch r.Now {
	case "there": // an example below it would be taken for something better
		comment(b, kind+"In the DNS now: "+r.now())
		return
	case "published":
		comment(b, kind+strings.TrimSuffix(strings.TrimSuffix(r.About, aboutSigns), aboutPublish))
	default:
		comment(b, kind+r.About)
	}
	if r.Now != "" {
		comment(b, "In the DNS now: "+r.now())
	}
	line := r.Zone
	if r.Example {
		line = ";" + strings.ReplaceAll(line, "\n", "\n;")
	}
	b.WriteString(line + "\n")
}

func comment(b *strings.Builder, text string) { wrap(b, "; ", text) }
