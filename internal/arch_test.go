// Package internal holds nothing but the test that keeps the floors apart.
package internal

import (
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// floors says which package stands on which floor. A package imports only lower
// floors; packages of one floor are strangers. docs/design/floors.md tells the why of each.
var floors = map[string]int{
	// Words: no I/O, no other package of ours.
	"mail": 0,
	// Ground: files and sockets.
	"safefile": 0, "listen": 0, "directory/watch": 0,
	// How an outside system does, whatever it is asked for.
	"directory/health": 0,
	// Shape without meaning: many keys in little memory.
	"directory/table": 0,
	// Knowledge: what may be known of a transaction, and what follows is its form.
	"evidence": 1,
	// Wires: protocols, both ends, nothing else. They know words only.
	"smtp": 1, "postfix": 1, "milter": 1,
	// The logs of mail servers: lines in, what they say out.
	"maillog": 1,
	// The DNS: questions out, answers kept. Mail is unknown to it.
	"resolver": 1,
	// A set of recipients in a file: the form of the file, which knows the ground only.
	"directory/snapshot": 1,
	// The files in which recipients travel: forms only, as the wires are.
	"directory/book": 1,
	// Keys with their times, which tags and seals share.
	"keyring": 1,
	// What an address or a header proves: keys and time in, a finding out.
	"batv": 2, "srs": 2, "seal": 2,
	// Who signed a message: header, body and keys in, a finding out.
	"dkim": 2,
	// The keys of the state folder, with the ground on which their file stands.
	"keyfile": 2,
	// Where mail goes, which the configuration is made of.
	"route": 2, "config": 3,
	// What the logs come to: what they say in, numbers and words out.
	"audit": 2,
	// What kind of automatic mail a message is: octets in, words out.
	"bounce": 2,
	// What the header From is worth, and how the findings are written down.
	"dmarc": 2, "authres": 2,
	// Rules: evidence in, reply out.
	"verdict": 3,
	// Services.
	"directory": 3, "relay": 3, "journal": 3, "metrics": 3,
	"record": 3, "tally": 3,
	// What other servers are told to do, made from a configuration.
	"guide": 4,
	// Whether a server beside us asks us: a conversation with it, and what its answers mean.
	"verify": 4,
	// What DNS blocklists say of an address: the resolver is handed in.
	"blocklist": 4,
	// What a server does with mail for nobody, as it looks from outside.
	"scan": 4,
	// What the counts of bounces mean, for people.
	"bouncereport": 4,
	// Plugs: one outside system each.
	"directory/list": 4, "directory/access": 4, "directory/callahead": 4, "store/sqlite": 4,
	"directory/sqldir": 4, "directory/httpdir": 4, "directory/ldapdir": 4,
	"directory/synced": 4,
	// Who really sent it: asks the DNS, which is handed to it.
	"auth": 4,
	// The heart.
	"session": 5,
	// Doors.
	"smtpd": 6, "milterd": 6, "policyd": 6,
	// The whole.
	"daemon": 7,
	// A mail server with three mailboxes, for trying.
	"demo": 7,
	// Tests only: they may use everything below the commands.
	"mailtest": 8, "mailtest/rig": 9,
}

// only lists who may import a thing, when nearly nobody may.
var only = []struct {
	what    string
	allowed []string
	why     string
}{
	{"backstop/internal/directory/list", []string{"daemon"}, "only the daemon plugs sources in"},
	{"backstop/internal/directory/access", []string{"daemon"}, "only the daemon plugs sources in"},
	{"backstop/internal/directory/callahead", []string{"daemon"}, "only the daemon plugs sources in"},
	{"backstop/internal/directory/sqldir", []string{"daemon"}, "only the daemon plugs sources in"},
	{"backstop/internal/directory/httpdir", []string{"daemon"}, "only the daemon plugs sources in"},
	{"backstop/internal/directory/ldapdir", []string{"daemon"}, "only the daemon plugs sources in"},
	{"backstop/internal/directory/synced", []string{"daemon"}, "only the daemon plugs sources in"},
	{"backstop/internal/store/sqlite", []string{"daemon"}, "only the daemon chooses the store"},
	{"modernc.org/sqlite", []string{"store/sqlite", "directory/sqldir"}, "one room for the store, one for the operator's database"},
	{"github.com/jackc/pgx/v5/pgconn", []string{"directory/sqldir"}, "one room for the operator's database"},
	{"github.com/go-sql-driver/mysql", []string{"directory/sqldir", "mailtest/rig"}, "one room for the operator's database"},
	{"github.com/go-ldap/ldap/v3", []string{"directory/ldapdir", "mailtest/rig"}, "one room for the protocol"},
	{"github.com/go-asn1-ber/asn1-ber", []string{"directory/ldapdir"}, "one room for the protocol"},
	{"github.com/pelletier/go-toml/v2", []string{"config"}, "one room for the file format"},
	{"github.com/pelletier/go-toml/v2/unstable", []string{"config"}, "one room for the file format"},
	{"github.com/pires/go-proxyproto", []string{"listen"}, "one room for the PROXY header"},
	{"github.com/prometheus/client_golang/prometheus", []string{"metrics"}, "the others count through metrics"},
	{"github.com/miekg/dns", []string{"resolver", "mailtest"}, "one room for the protocol: the others ask the resolver"},
	{"blitiri.com.ar/go/spf", []string{"auth"}, "one room for the rules of RFC 7208"},
	{"github.com/maypok86/otter/v2", []string{"resolver"}, "the directory has a cache that is faster for what it keeps"},
	{"github.com/emersion/go-smtp", []string{"mailtest", "mailtest/rig"}, "an independent peer in tests, never in the product"},
	{"github.com/emersion/go-msgauth/dkim", nil, "an oracle in tests, never in the product"},
	{"crypto/tls", []string{"smtp", "config", "relay", "directory/callahead", "directory/sqldir", "directory/httpdir", "directory/ldapdir", "scan", "daemon", "mailtest", "mailtest/rig"}, "certificates are a matter of the wires and their configuration"},
	{"net/http", []string{"daemon", "metrics", "directory/httpdir"}, "HTTP is a door"},
	{"os/exec", []string{"mailtest", "mailtest/rig"}, "the product runs no other program"},
	{"golang.org/x/net/publicsuffix", []string{"dmarc", "resolver"}, "the others ask dmarc.OrgDomain; the resolver, on a lower floor, shares its room out by registered domains"},
	{"math/rand", nil, "math/rand/v2 or crypto/rand"},
	{"unsafe", nil, "nothing here needs it"},
}

// pure packages do no I/O and read no clock.
var pure = map[string][]string{
	"mail":         {"os", "net", "time", "io", "log/slog"},
	"evidence":     {"os", "net", "io", "log/slog"},
	"verdict":      {"os", "net", "io", "log/slog"},
	"keyring":      {"os", "net", "io", "log/slog", "crypto/rand", "math/rand/v2"},
	"batv":         {"os", "net", "io", "log/slog", "crypto/rand", "math/rand/v2"},
	"srs":          {"os", "net", "io", "log/slog", "crypto/rand", "math/rand/v2"},
	"seal":         {"os", "net", "io", "log/slog", "crypto/rand", "math/rand/v2"},
	"bounce":       {"os", "net", "time", "io", "log/slog"},
	"bouncereport": {"os", "net", "time", "io", "log/slog"},
	"maillog":      {"os", "net", "log/slog"},
	"audit":        {"os", "net", "io", "log/slog"},
	"authres":      {"os", "net", "time", "io", "log/slog", "crypto/rand", "math/rand/v2"},
	"dmarc":        {"os", "net", "time", "io", "log/slog", "crypto/rand", "math/rand/v2"},
	"dkim":         {"os", "io", "log/slog", "crypto/rand", "math/rand/v2"}, // of net only the error by which the DNS says that there is no key
}

// dialers are the packages that may open a connection to somebody.
var dialers = map[string]bool{
	"relay": true, "directory/callahead": true, "directory/ldapdir": true, "directory/sqldir": true, "directory/httpdir": true, "mailtest": true, "mailtest/rig": true,
	"resolver": true,
	"listen":   true, // only to see whether a unix socket found lying about is still served
	"verify":   true, // asks the MTA that `setup` has just told to ask us
	"scan":     true, // asks a server from outside, ten times at most
	"demo":     true, // plays the flood against its own gateway
}

// wires are protocols, of which nobody is to know what an answer means.
var wires = []string{"smtp", "postfix", "milter"}

type pkg struct {
	name    string
	imports []string
	files   []string
}

// packages reads the imports of every package below internal, tests left out.
func packages(t *testing.T) []pkg {
	t.Helper()
	var all []pkg
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || path == "." {
			return err
		}
		if d.Name() == "testdata" {
			return filepath.SkipDir
		}
		p, err := build.ImportDir(path, 0)
		if _, empty := err.(*build.NoGoError); empty {
			return nil
		}
		if err != nil {
			return err
		}
		one := pkg{name: filepath.ToSlash(path), imports: p.Imports}
		for _, f := range p.GoFiles {
			one.files = append(one.files, filepath.Join(path, f))
		}
		all = append(all, one)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFloors(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range packages(t) {
		seen[p.name] = true
		floor, known := floors[p.name]
		if !known {
			t.Errorf("%s stands on no floor: give it one in the table, and say why in docs/design/floors.md", p.name)
			continue
		}
		for _, imp := range p.imports {
			other, ours := strings.CutPrefix(imp, "backstop/internal/")
			if !ours {
				continue
			}
			if floors[other] >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d): only lower floors may be imported", p.name, floor, other, floors[other])
			}
			if has(wires, p.name) && other != "mail" {
				t.Errorf("%s imports %s: a wire knows words, and nothing of what they mean", p.name, other)
			}
		}
	}
	for name := range floors {
		if !seen[name] {
			t.Errorf("the table names %s, which is not there", name)
		}
	}
}

func TestOnly(t *testing.T) {
	for _, p := range packages(t) {
		for _, imp := range p.imports {
			for _, o := range only {
				if imp == o.what && !has(o.allowed, p.name) && imp != "backstop/internal/"+p.name {
					t.Errorf("%s imports %s: %s", p.name, imp, o.why)
				}
			}
			if has(pure[p.name], imp) && !(p.name == "evidence" && imp == "time") {
				t.Errorf("%s imports %s: it does no I/O and reads no clock", p.name, imp)
			}
		}
	}
}

// TestClocks finds pure packages that read a clock, by the words with which it is done.
func TestClocks(t *testing.T) {
	for _, p := range packages(t) {
		if pure[p.name] == nil {
			continue
		}
		for _, f := range p.files {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range []string{"time.Now(", "time.Since(", "time.Until(", "time.After(", "time.NewTimer(", "time.Sleep("} {
				if strings.Contains(string(src), w) {
					t.Errorf("%s has %s: time is an argument there", f, w)
				}
			}
		}
	}
}

// TestDialers finds who opens connections, by the words with which it is done.
func TestDialers(t *testing.T) {
	words := []string{"net.Dial(", "net.DialTimeout(", "net.Dialer{", "tls.Dial(", "http.Get(", "http.Client{", "http.DefaultClient"}
	for _, p := range packages(t) {
		if dialers[p.name] {
			continue
		}
		for _, f := range p.files {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range words {
				if strings.Contains(string(src), w) {
					t.Errorf("%s has %s: only relay and the plugs ask others, so that budgets and breakers hold", f, w)
				}
			}
		}
	}
}

func has(list []string, s string) bool { return slices.Contains(list, s) }
