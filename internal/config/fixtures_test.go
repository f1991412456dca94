package config

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what is printed now into the .want files")

// surroundings makes a folder with the files that fixtures name, and works in it.
func surroundings(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	later := time.Now().AddDate(10, 0, 0)
	for name, until := range map[string]time.Time{"mx": later, "other": later, "old": time.Date(2020, 1, 31, 0, 0, 0, 0, time.UTC)} {
		certificate, key := selfSigned(t, until)
		write(name+".pem", certificate)
		write(name+".key", key)
	}
	write("users", []byte("alice\nbob\n"))
	write("secret", []byte("s3cret\n"))
	write("empty", nil)
	write("postsrsd.secret", []byte("geheim\nan older geheim one\n"))
	write("postsrsd.one", []byte("geheim\n"))
	for name, data := range signingKeys() {
		write(name, data)
	}
	for open, data := range map[string][]byte{"open.secret": []byte("s3cret\n"), "open.srs": []byte("geheim\n"), "open.pem": signingKeys()["ed25519.pem"]} {
		write(open, data)
		if err := os.Chmod(filepath.Join(dir, open), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
}

// signingKeys are keys as DKIM has them, and such as it cannot use.
var signingKeys = sync.OnceValue(func() map[string][]byte {
	files := map[string][]byte{}
	add := func(name, kind string, der []byte, err error) {
		if err != nil {
			panic(err)
		}
		files[name] = pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	for _, bits := range []int{2048, 1024} {
		private, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		add(fmt.Sprintf("rsa%d.pem", bits), "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private), nil)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	add("ed25519.pem", "PRIVATE KEY", der, err)
	der, err = x509.MarshalPKIXPublicKey(public)
	add("public.pem", "PUBLIC KEY", der, err)
	add("rsa512.pem", "RSA PRIVATE KEY", tinyKey(), nil)
	return files
})

// tinyKey is an RSA key of 512 bits, which the library no longer makes.
func tinyKey() []byte {
	one := big.NewInt(1)
	for {
		p, errP := rand.Prime(rand.Reader, 256)
		q, errQ := rand.Prime(rand.Reader, 256)
		if errP != nil || errQ != nil {
			panic(errors.Join(errP, errQ))
		}
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		n, d := new(big.Int).Mul(p, q), new(big.Int).ModInverse(big.NewInt(65537), phi)
		if d == nil || n.BitLen() != 512 || p.Cmp(q) == 0 {
			continue
		}
		key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: 65537}, D: d, Primes: []*big.Int{p, q}}
		key.Precompute()
		return x509.MarshalPKCS1PrivateKey(key)
	}
}

func selfSigned(t *testing.T, until time.Time) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "mx.example.com"},
		DNSNames:     []string{"mx.example.com"},
		NotBefore:    until.AddDate(-20, 0, 0),
		NotAfter:     until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// printed is what the command prints of a list.
func printed(list []Problem) string {
	var b strings.Builder
	for _, p := range list {
		b.WriteString(p.String() + "\n")
		if p.Hint != "" {
			b.WriteString("hint: " + p.Hint + "\n")
		}
	}
	return b.String()
}

func problems(t *testing.T, err error) []Problem {
	t.Helper()
	if err == nil {
		return nil
	}
	list, ok := err.(*Errors)
	if !ok || len(list.List) == 0 {
		t.Fatalf("the error is %T %v, want *Errors with something in it", err, err)
	}
	return list.List
}

// compare holds what is printed against the .want file beside the fixture.
func compare(t *testing.T, want, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	data, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(data) {
		t.Errorf("printed:\n%swant:\n%s", got, data)
	}
}

func fixtures(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no fixtures match %s (%v)", pattern, err)
	}
	for i := range paths {
		if paths[i], err = filepath.Abs(paths[i]); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

// load loads a fixture from within the surroundings, under its bare name.
func load(t *testing.T, path string) (*Config, error) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(path)
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(name)
}

func TestBroken(t *testing.T) {
	paths := fixtures(t, "testdata/broken/*.toml")
	if len(paths) < 30 {
		t.Errorf("only %d broken configurations are left", len(paths))
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			surroundings(t)
			c, err := load(t, path)
			if err == nil {
				t.Fatal("the configuration was accepted")
			}
			if c != nil {
				t.Error("a configuration came with the error")
			}
			got := printed(problems(t, err))
			if strings.Contains(got, "geheim") {
				t.Errorf("a password is shown:\n%s", got)
			}
			compare(t, strings.TrimSuffix(path, ".toml")+".want", got)
		})
	}
}

func TestGood(t *testing.T) {
	for _, path := range fixtures(t, "testdata/good/*.toml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			surroundings(t)
			c, err := load(t, path)
			if err != nil {
				t.Fatalf("refused:\n%s", printed(problems(t, err)))
			}
			compare(t, strings.TrimSuffix(path, ".toml")+".want", printed(c.Warnings))
		})
	}
}

// TestInterface takes the example of the interface, with its files in place: what is
// refused is what this version does not have, and nothing else.
func TestInterface(t *testing.T) {
	example, err := os.ReadFile("testdata/interface.toml")
	if err != nil {
		t.Fatal(err)
	}
	want, err := filepath.Abs("testdata/interface.want")
	if err != nil {
		t.Fatal(err)
	}
	surroundings(t)
	text := strings.NewReplacer("/etc/ssl/", "", "/etc/backstop/my.org", "users", "/etc/backstop/ldap.secret", "secret").Replace(string(example))
	_, err = Parse("interface.toml", []byte(text))
	got := problems(t, err)
	for _, p := range got {
		if !strings.HasSuffix(p.Message, "is not part of this version yet") {
			t.Errorf("%v", p)
		}
	}
	compare(t, want, printed(got))
}
