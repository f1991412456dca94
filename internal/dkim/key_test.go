package dkim

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"sync"
	"testing"
)

// rsaKey makes one RSA key of each size, and no more, since that takes long.
var rsaKey = func() func(t testing.TB, bits int) *rsa.PrivateKey {
	var mu sync.Mutex
	made := map[int]*rsa.PrivateKey{}
	return func(t testing.TB, bits int) *rsa.PrivateKey {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if made[bits] == nil {
			primes := 2
			if bits > 2048 {
				primes = 8 // small ones are found soon
			}
			//lint:ignore SA1019 for tests only: nobody can verify by how many primes a key was made
			k, err := rsa.GenerateMultiPrimeKey(rand.Reader, primes, bits)
			if err != nil {
				t.Fatal(err)
			}
			made[bits] = k
		}
		return made[bits]
	}
}()

// edKey is the same Ed25519 key for the same number.
func edKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func pkcs8(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func pkcs1(key *rsa.PrivateKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

func TestParsePrivate(t *testing.T) {
	rsa2048, ed := rsaKey(t, 2048), edKey(1)
	for name, tc := range map[string]struct {
		file string
		want crypto.Signer
	}{
		"PKCS#1":            {pkcs1(rsa2048), rsa2048},
		"PKCS#8 RSA":        {pkcs8(t, rsa2048), rsa2048},
		"PKCS#8 Ed25519":    {pkcs8(t, ed), ed},
		"words around":      {"the key of 2026:\n" + pkcs8(t, ed) + "do not lose it\n", ed},
		"CRLF":              {strings.ReplaceAll(pkcs8(t, ed), "\n", "\r\n"), ed},
		"with a public key": {string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})) + pkcs1(rsa2048), rsa2048},
	} {
		got, err := ParsePrivate([]byte(tc.file))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !got.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(tc.want.Public()) {
			t.Errorf("%s: another key came out", name)
		}
	}
}

func TestParsePrivateRefuses(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	small, err := rsa.GenerateKey(rand.Reader, 768)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	whole := pkcs1(rsaKey(t, 2048))
	block := func(kind string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("whatever")}))
	}
	for name, tc := range map[string]struct{ file, want string }{
		"nothing":           {" \n", "the file is empty"},
		"text":              {"hello\n", "no private key in PEM form"},
		"half":              {whole[:len(whole)/2], "no private key in PEM form"},
		"damaged":           {block("RSA PRIVATE KEY"), "the private key is damaged"},
		"damaged PKCS#8":    {block("PRIVATE KEY"), "the private key is damaged"},
		"two":               {whole + pkcs8(t, edKey(1)), "several private keys"},
		"encrypted":         {block("ENCRYPTED PRIVATE KEY"), "is encrypted"},
		"encrypted of old":  {strings.Replace(whole, "KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1), "is encrypted"},
		"public":            {block("PUBLIC KEY"), "holds a public key"},
		"certificate":       {block("CERTIFICATE"), `holds "CERTIFICATE"`},
		"elliptic of 1.0":   {block("EC PRIVATE KEY"), `holds "EC PRIVATE KEY"`},
		"elliptic":          {pkcs8(t, ec), "neither RSA nor Ed25519"},
		"768 bits":          {pkcs1(small), "has 768 bits"},
		"a broken one more": {block("PRIVATE KEY") + block("PRIVATE KEY"), "several private keys"},
	} {
		_, err := ParsePrivate([]byte(tc.file))
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
			continue
		}
		if h, ok := err.(interface{ Hint() string }); !ok || h.Hint() == "" {
			t.Errorf("%s: no hint", name)
		}
	}
}

func TestRecord(t *testing.T) {
	for name, tc := range map[string]struct {
		key         Key
		name, begin string
	}{
		"rsa":     {Key{"Example.ORG", "S1", rsaKey(t, 2048)}, "s1._domainkey.example.org", "v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"},
		"ed25519": {Key{"bücher.example", "a.b", edKey(1)}, "a.b._domainkey.xn--bcher-kva.example", "v=DKIM1; k=ed25519; p=iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="},
	} {
		n, txt, err := tc.key.Record()
		if err != nil || n != tc.name || !strings.HasPrefix(txt, tc.begin) {
			t.Errorf("%s: %q %q %v", name, n, txt, err)
		}
	}
	long := strings.Repeat("a.", 100) + "a"
	for name, tc := range map[string]struct {
		key  Key
		want string
	}{
		"no key":      {Key{"example.org", "s", nil}, "no private key"},
		"no domain":   {Key{"", "s", edKey(1)}, "the domain of the key"},
		"literal":     {Key{"[192.0.2.1]", "s", edKey(1)}, "the domain of the key"},
		"no selector": {Key{"example.org", "", edKey(1)}, "the selector of the key"},
		"selector":    {Key{"example.org", "a;b", edKey(1)}, "the selector of the key"},
		"too long":    {Key{long, "b." + long[:60], edKey(1)}, "too long together"},
	} {
		if _, _, err := tc.key.Record(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
