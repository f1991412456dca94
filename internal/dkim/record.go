package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// maxRecord is how long a key record may be, in octets: one of MaxRSA bits has less than 800.
const maxRecord = 4096

// record is what a domain publishes of a key (RFC 6376, 3.6.1).
type record struct {
	public crypto.PublicKey
	exact  bool // t=s: i= must be of d= itself
	test   bool // t=y
}

// parseRecord reads the text of a key record, which is to fit a signature made by the algorithm.
func parseRecord(txt, algorithm string) (r record, err error) {
	if len(txt) > maxRecord {
		return r, errors.New("the key record is too long")
	}
	list, err := parseTags(txt)
	if err != nil {
		return r, fmt.Errorf("the key record: %w", err)
	}
	if v, ok := list.get("v"); ok && (v.value != "DKIM1" || list[0].name != "v") {
		return r, errors.New("the key record is not of DKIM1, or does not begin so")
	}
	if !lists(list.value("s", "*"), "*") && !lists(list.value("s", "*"), "email") {
		return r, errors.New("the key is not for mail (s=)")
	}
	if h, ok := list.get("h"); ok && !lists(h.value, "sha256") {
		return r, errors.New("the key is not for SHA-256 (h=)")
	}
	kind := list.value("k", "rsa")
	if want := strings.TrimSuffix(algorithm, "-sha256"); !strings.EqualFold(kind, want) {
		return r, fmt.Errorf("the key is of %.20q, and the signature of %q", kind, want)
	}
	p, ok := list.get("p")
	if !ok {
		return r, errors.New("the key record has no key (p=)")
	}
	if p.value == "" {
		return r, errors.New("the key is revoked (p= is empty)")
	}
	der, err := decode(p.value)
	if err != nil {
		return r, fmt.Errorf("the key of the record: %w", err)
	}
	if r.public, err = parsePublic(der, algorithm); err != nil {
		return r, err
	}
	flags := list.value("t", "")
	r.exact, r.test = lists(flags, "s"), lists(flags, "y")
	return r, nil
}

// parsePublic reads a published key. RSA is met in both forms (RFC 6376, erratum 3017).
func parsePublic(der []byte, algorithm string) (crypto.PublicKey, error) {
	if algorithm == algEd25519 {
		if len(der) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("the key of the record has %d octets, and not the %d of Ed25519 (RFC 8463, 4)", len(der), ed25519.PublicKeySize)
		}
		return ed25519.PublicKey(der), nil
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		if public, err = x509.ParsePKCS1PublicKey(der); err != nil {
			return nil, errors.New("the key of the record is damaged")
		}
	}
	if _, ok := public.(*rsa.PublicKey); !ok {
		return nil, errors.New("the key of the record is not RSA, as it says (k=)")
	}
	return public, usable(public)
}

// signed says whether the key made the signature of the digest by that algorithm.
func signed(public crypto.PublicKey, algorithm string, digest *[sha256.Size]byte, sig []byte) bool {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return algorithm == algRSA && rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], sig) == nil
	case ed25519.PublicKey:
		return algorithm == algEd25519 && ed25519.Verify(k, digest[:], sig)
	}
	return false
}
