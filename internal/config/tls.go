package config

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"time"
)

// tlsDraft is what `tls = { … }` says before the files are read.
type tlsDraft struct {
	certificate, key, acme       string
	certificateAt, keyAt, acmeAt *node
}

func (t *tlsDraft) keys() []key {
	file := func(dst *string, at **node) setter {
		take := text(dst, someText)
		return func(d *decoder, n *node) { *at = n; take(d, n) }
	}
	return []key{
		{name: "certificate", unset: "required", set: file(&t.certificate, &t.certificateAt), doc: "PEM file: the certificate and the chain that leads to its root."},
		{name: "key", unset: "required", set: file(&t.key, &t.keyAt), doc: "PEM file: the private key. A reload reads both again."},
		{name: "acme", unset: "none", set: file(&t.acme, &t.acmeAt), doc: "Certificates from an ACME authority are not part of this version yet."},
	}
}

// takeTLS reads the certificate, so that a wrong one is found now and not by the first client.
func takeTLS(dst **TLS) setter {
	return func(d *decoder, n *node) {
		var t tlsDraft
		d.table(n, "tls", t.keys())
		if n.kind != kindTable {
			return
		}
		switch {
		case t.acmeAt != nil:
			d.fail(t.acmeAt.at, "give certificate and key, and let the ACME client that you have write these files", "tls.acme is not part of this version yet")
		case t.certificateAt == nil || t.keyAt == nil:
			d.bad(n, `write tls = { certificate = "/etc/ssl/mx.pem", key = "/etc/ssl/mx.key" }`, "both certificate and key are wanted")
		case t.certificate != "" && t.key != "":
			*dst = d.loadTLS(&t)
		}
	}
}

func (d *decoder) loadTLS(t *tlsDraft) *TLS {
	d.key = "tls"
	certificate, err := os.ReadFile(d.path(t.certificate))
	if err != nil {
		d.cannotRead(t.certificateAt, t.certificate, err, "")
	}
	private, keyErr := os.ReadFile(d.path(t.key))
	if keyErr != nil {
		d.cannotRead(t.keyAt, t.key, keyErr, "")
	}
	if err != nil || keyErr != nil {
		return nil
	}
	if !x509.NewCertPool().AppendCertsFromPEM(certificate) {
		d.bad(t.certificateAt, "it begins with -----BEGIN CERTIFICATE-----", "%s holds no certificate in PEM form", t.certificate)
		return nil
	}
	pair, err := tls.X509KeyPair(certificate, private)
	if err != nil {
		d.bad(t.keyAt, "the key must be the one for which the certificate was made", "%s does not fit %s: %v", t.key, t.certificate, err)
		return nil
	}
	if pair.Leaf != nil && time.Now().After(pair.Leaf.NotAfter) {
		d.warn(t.certificateAt.at, "senders that check will not deliver", "tls: the certificate in %s ran out on %s", t.certificate, pair.Leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	return &TLS{CertificateFile: d.path(t.certificate), KeyFile: d.path(t.key), Certificate: pair}
}

// takeRoots reads the authorities that certify downstreams.
func takeRoots(r *Relay) setter {
	return func(d *decoder, n *node) {
		path, ok := one(d, n, someText)
		if !ok {
			return
		}
		pem, err := os.ReadFile(d.path(path))
		if err != nil {
			d.cannotRead(n, path, err, "")
			return
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			d.bad(n, "it begins with -----BEGIN CERTIFICATE-----", "%s holds no certificate in PEM form", path)
			return
		}
		r.CAFile, r.Roots = d.path(path), pool
	}
}
