package config

import (
	"fmt"

	"backstop/internal/mail"
	"backstop/internal/srs"
)

// SRS is how addresses that a postsrsd behind us made are known again.
type SRS struct {
	File    string   // of the secrets; "": they are not
	Secrets [][]byte `json:"-"` // the first makes addresses, all of them prove them
	Domains []string // folded, in which such addresses are; never empty while there are Secrets
	Reverse bool     // bounces to them are turned back here and leave by [outbound]
}

// Format keeps every verb of fmt from showing the secrets.
func (s SRS) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "{%s %s}", s.File, s.Domains) }

func (s *SRS) keys(d *decoder) []key {
	return []key{
		{name: "secret_file", unset: "none", set: d.marked("srs.secret_file", s.takeSecrets),
			doc: "postsrsd's file of secrets, often `/etc/postsrsd.secret`: a secret a line. With it a bounce to an address that your forwarder made proves itself. It must be readable for this program."},
		{name: "domains", unset: "all of yours", set: s.takeDomains,
			doc: "The domains in which your forwarder makes addresses (`SRS_DOMAIN` of postsrsd). Name them where only some are, so that a local part that begins with SRS0 is a user's in the others."},
		{name: "reverse", def: "false", set: d.marked("srs.reverse", boolean(&s.Reverse)),
			doc: "`true`: a bounce to such an address is turned back here, to the sender for whom it was made, and handed to the relay of `[outbound]`, if it proves by seal or record what it answers, whatever the mode: let the forwarder's mail leave by `[outbound]`. `false`: the domain's relay gets it as it is, for a postsrsd there. Set it where the server behind does no SRS itself."},
	}
}

// takeSecrets reads postsrsd's file.
func (s *SRS) takeSecrets(d *decoder, n *node) {
	path, ok := one(d, n, someText)
	if !ok {
		return
	}
	data, ok := d.readSecret(n, path, "it is postsrsd's file of secrets, often /etc/postsrsd.secret, and the daemon's user must be able to read it")
	if !ok {
		return
	}
	s.File, s.Secrets = d.path(path), srs.Secrets(data)
	if _, err := srs.New(srs.Options{Secrets: s.Secrets}); err != nil {
		d.bad(n, "it has a secret a line, as postsrsd reads it", "%s holds no secret", path)
	}
}

// takeDomains takes domains that must be ours, which is known when all of them are read.
func (s *SRS) takeDomains(d *decoder, n *node) {
	d.mark("srs.domains", n)
	if !d.want(n, kindArray) {
		return
	}
	for _, e := range n.elems {
		if name, ok := one(d, e, mail.FoldDomain); ok {
			s.Domains = append(s.Domains, name)
			d.srsAt = append(d.srsAt, e.at)
		}
	}
}

func (c *Config) checkSRS(d *decoder) {
	s := &c.SRS
	for i, name := range s.Domains {
		if _, ours := d.names[name]; !ours {
			d.fail(d.srsAt[i], "write a [[domain]] for it, or take it out", "domains: %s is not one of the domains here", name)
		}
	}
	if at := d.places["srs.reverse"]; s.Reverse && c.Outbound == nil && d.outbound == nil {
		d.fail(at, "write an [outbound] section, or take it out", "reverse: without [outbound] there is no way by which mail could leave")
	} else if s.Reverse && s.File == "" {
		d.fail(at, `write secret_file = "/etc/postsrsd.secret"`, "reverse: without a secret_file no address is known")
	}
	at, written := d.places["srs.domains"]
	switch {
	case s.File == "" && written:
		if _, tried := d.places["srs.secret_file"]; !tried {
			d.warn(at, `write secret_file = "/etc/postsrsd.secret"`, "domains: it has no effect without a secret_file")
		}
	case s.File != "" && len(s.Domains) == 0:
		for _, t := range c.Domains {
			s.Domains = append(append(s.Domains, t.Name), t.Aliases...)
		}
	}
}
