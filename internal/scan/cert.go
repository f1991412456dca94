package scan

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"strings"
	"time"

	"backstop/internal/smtp"
)

// Certificate is what the server showed after STARTTLS, or why it showed nothing.
type Certificate struct {
	Subject   string    `json:"subject"`
	Names     []string  `json:"names"`
	Issuer    string    `json:"issuer"`
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	Version   string    `json:"version"` // TLS 1.3
	Fits      bool      `json:"fits"`    // it names the host that we asked for
	Current   bool      `json:"current"` // today lies in its time
	Trusted   bool      `json:"trusted"` // by the authorities that this machine trusts
	Error     string    `json:"error,omitempty"`
}

// certificate reads it, in a conversation of its own that ends with that.
func (s *scanner) certificate(ctx context.Context) {
	if !s.f.caps.StartTLS {
		return
	}
	broke := s.f.broke
	var state *tls.ConnectionState
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS10, // it is only looked at, and who offers no more is to be told
		VerifyConnection: func(c tls.ConnectionState) error {
			state = &c
			return nil
		},
	}
	v := s.openTLS(ctx, s.at, smtp.TLSOpportunistic, cfg)
	if v == nil {
		return
	}
	switch {
	case state != nil:
		s.f.cert = describe(state, s.at.host, time.Now())
	case v.err != nil:
		s.f.cert = &Certificate{Names: []string{}, Error: reason(v.err)}
	default: // it was offered and then refused
		s.f.cert = &Certificate{Names: []string{}, Error: "STARTTLS is offered, and refused when it is asked for"}
	}
	s.ended(ctx, v, true)
	s.f.broke = broke // a failure of TLS says nothing about recipients
}

// describe says what is in a certificate, for a host at a time.
func describe(state *tls.ConnectionState, host string, now time.Time) *Certificate {
	c := &Certificate{Names: []string{}, Version: tls.VersionName(state.Version)}
	if len(state.PeerCertificates) == 0 {
		c.Error = "it shows no certificate"
		return c
	}
	leaf := state.PeerCertificates[0]
	c.Subject, c.Issuer = plain(leaf.Subject.String()), plain(leaf.Issuer.String())
	for _, n := range leaf.DNSNames[:min(len(leaf.DNSNames), 50)] {
		c.Names = append(c.Names, plain(n))
	}
	for _, ip := range leaf.IPAddresses[:min(len(leaf.IPAddresses), 10)] {
		c.Names = append(c.Names, ip.String())
	}
	c.NotBefore, c.NotAfter = leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
	c.Current = !now.Before(leaf.NotBefore) && !now.After(leaf.NotAfter)
	c.Fits = leaf.VerifyHostname(host) == nil
	among := x509.NewCertPool()
	for _, m := range state.PeerCertificates[1:] {
		among.AddCert(m)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Intermediates: among, CurrentTime: now})
	c.Trusted = err == nil
	var unknown x509.UnknownAuthorityError
	if err != nil && !errors.As(err, &unknown) {
		c.Error = plain(err.Error())
	}
	return c
}

// plain is a stranger's text on one line, not too long.
func plain(s string) string {
	s = strings.ReplaceAll(clean([]byte(s)), "\n", " ")
	return short(s, 200)
}

// flaws are what is wrong with a certificate, in words.
func (c *Certificate) flaws(host string) []string {
	if c.Subject == "" && len(c.Names) == 0 {
		return []string{"STARTTLS does not work: " + c.Error}
	}
	var flaws []string
	if !c.Current {
		flaws = append(flaws, "the certificate is out of its time ("+c.NotBefore.Format(time.DateOnly)+" to "+c.NotAfter.Format(time.DateOnly)+")")
	}
	if _, err := netip.ParseAddr(host); err != nil && !c.Fits {
		flaws = append(flaws, "the certificate does not name "+host)
	}
	if !c.Trusted && c.Current {
		flaws = append(flaws, "no authority that this machine trusts stands behind the certificate")
	}
	if c.Version == "TLS 1.0" || c.Version == "TLS 1.1" {
		flaws = append(flaws, c.Version+" is all it speaks")
	}
	return flaws
}
