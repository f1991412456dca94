package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"

	"backstop/internal/mail"
)

// Sizes of RSA keys in bits: less must not be believed, and more need not be understood by
// anybody (RFC 8301, 3.2), nor do we compute with it.
const (
	MinRSA = 1024
	MaxRSA = 4096
)

// Key is a key that signs, and where its public half is published.
type Key struct {
	Domain   string        // d=
	Selector string        // s=
	Private  crypto.Signer // RSA of MinRSA to MaxRSA bits (2048 advised: RFC 8301, 3.2), or Ed25519 (RFC 8463)
}

// KeyError says what is wrong with a key.
type KeyError struct{ what, hint string }

func (e *KeyError) Error() string { return e.what }

// Hint is what to do about it; "": nothing beyond what the error says.
func (e *KeyError) Hint() string { return e.hint }

const hintMake = "make one with: openssl genrsa -out dkim.pem 2048 (or: openssl genpkey -algorithm ed25519 -out dkim.pem)"

// ParsePrivate reads the private key of a PEM file: PKCS#1 ("RSA PRIVATE KEY") or
// PKCS#8 ("PRIVATE KEY"), RSA of MinRSA to MaxRSA bits or Ed25519. What else stands in the file is
// passed over, but a second private key is an error: nobody could tell which is meant.
func ParsePrivate(file []byte) (crypto.Signer, error) {
	var found *pem.Block
	other := ""
	for b, rest := pem.Decode(file); b != nil; b, rest = pem.Decode(rest) {
		switch {
		case b.Type != "RSA PRIVATE KEY" && b.Type != "PRIVATE KEY":
			other = b.Type
		case found != nil:
			return nil, &KeyError{"the file holds several private keys", "keep each key in a file of its own"}
		default:
			found = b
		}
	}
	if found == nil {
		return nil, noPrivate(file, other)
	}
	if bytes.Contains([]byte(found.Headers["Proc-Type"]), []byte("ENCRYPTED")) {
		return nil, errEncrypted
	}
	key, err := parseDER(found)
	if err != nil {
		return nil, err
	}
	if err := usable(key.Public()); err != nil {
		return nil, err
	}
	return key, nil
}

var errEncrypted = &KeyError{"the private key is encrypted", "decrypt it (openssl pkey -in dkim.pem -out plain.pem), and let nobody else read the file"}

// noPrivate says why a file has no private key that can be used.
func noPrivate(file []byte, other string) error {
	switch other {
	case "":
		if len(bytes.TrimSpace(file)) == 0 {
			return &KeyError{"the file is empty", hintMake}
		}
		return &KeyError{"no private key in PEM form", hintMake}
	case "ENCRYPTED PRIVATE KEY":
		return errEncrypted
	case "PUBLIC KEY", "RSA PUBLIC KEY":
		return &KeyError{"the file holds a public key, and no private one", "name the file of the private key: the record to publish is made from it"}
	}
	return &KeyError{fmt.Sprintf("the file holds %.40q, and no private key for RSA or Ed25519", other), hintMake}
}

func parseDER(b *pem.Block) (crypto.Signer, error) {
	broken := func(err error) error {
		return &KeyError{fmt.Sprintf("the private key is damaged: %v", err), hintMake}
	}
	if b.Type == "RSA PRIVATE KEY" {
		key, err := x509.ParsePKCS1PrivateKey(b.Bytes)
		if err != nil {
			return nil, broken(err)
		}
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(b.Bytes)
	if err != nil {
		return nil, broken(err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, usable(nil)
	}
	return signer, nil
}

// usable says whether DKIM has an algorithm for the key, and verifiers would believe it.
func usable(public crypto.PublicKey) error {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < MinRSA {
			return &KeyError{fmt.Sprintf("the RSA key has %d bits, and less than %d must not be believed (RFC 8301, 3.2)", n, MinRSA), hintMake}
		} else if n > MaxRSA {
			return &KeyError{fmt.Sprintf("the RSA key has %d bits, and more than %d need not be understood by anybody (RFC 8301, 3.2)", n, MaxRSA), hintMake}
		}
		return nil
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return nil
		}
	}
	return &KeyError{"the key is neither RSA nor Ed25519, and DKIM knows no other (RFC 8463)", hintMake}
}

// check says what forbids signing with the key.
func (k Key) check() error {
	if k.Private == nil {
		return &KeyError{"no private key", hintMake}
	}
	if _, err := foldName(k.Domain); err != nil {
		return fmt.Errorf("the domain of the key: %w", err)
	}
	if _, err := foldName(k.Selector); err != nil {
		return fmt.Errorf("the selector of the key: %w", err)
	}
	if len(k.Selector)+len(between)+len(k.Domain) > maxName {
		return &KeyError{"selector and domain are too long together for a name in the DNS", "choose a shorter selector"}
	}
	return usable(k.Private.Public())
}

const (
	between = "._domainkey." // RFC 6376, 3.6.2.1
	maxName = 253            // octets of a name in the DNS, written out
)

// foldName gives a domain or a selector, which is made like one, in the form in which it is asked for.
func foldName(s string) (string, error) {
	folded, err := mail.FoldDomain(s)
	if err == nil && folded[0] == '[' {
		err = errors.New("an address literal is no domain")
	}
	return folded, err
}

// Record returns the name and the text of the TXT record to publish for the key (RFC 6376, 3.6.1;
// RFC 8463, 4). The text is in one piece: in a zone file it stands as several strings of at most 255 octets each.
func (k Key) Record() (name, txt string, err error) {
	if err := k.check(); err != nil {
		return "", "", err
	}
	selector, _ := foldName(k.Selector)
	domain, _ := foldName(k.Domain)
	name = selector + between + domain
	switch public := k.Private.Public().(type) {
	case ed25519.PublicKey:
		return name, "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public), nil
	case *rsa.PublicKey:
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			return "", "", &KeyError{fmt.Sprintf("the public key cannot be written: %v", err), hintMake}
		}
		return name, "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der), nil
	}
	return "", "", usable(nil)
}
