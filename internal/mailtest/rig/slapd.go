package rig

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// SlapdOptions is what an OpenLDAP server is told beyond the usual.
type SlapdOptions struct {
	Global   string // lines of slapd.conf before the database
	Database string // lines of the database: limits, access, overlays
	Name     string // that its certificate is for; "": 127.0.0.1
}

// Slapd is a real OpenLDAP server with a database of its own. It is there from NewSlapd on, and its
// data outlive Kill and Stop as those of a real one do.
type Slapd struct {
	Base      string // "dc=example,dc=com"
	Admin     string // who may do everything
	Password  string // of Admin
	Authority *mailtest.Authority

	t           testing.TB
	dir         string
	plain, safe string // ports
	server      *process
}

// slapdSchema has what Debian's files lack: mailbox addresses that can be compared, as Exchange's schema
// has them, and the switch that many sites put beside a user.
const slapdSchema = `
attributetype ( 1.3.6.1.4.1.55555.1.1 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.55555.1.2 NAME 'accountStatus' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.55555.2.1 NAME 'testMailbox' SUP top AUXILIARY MAY ( mail $ proxyAddresses $ accountStatus ) )
`

// NewSlapd starts a server with one entry in it, Base, and ends it with the test. It serves
// ldap://, with StartTLS, and ldaps:// on free loopback ports, and ldapi://. Where there is no
// slapd, the test is skipped or fails (mailtest.Need).
func NewSlapd(t testing.TB, o SlapdOptions) *Slapd {
	t.Helper()
	mailtest.Need(t, "slapd")
	mailtest.Need(t, "ldapmodify")
	s := &Slapd{
		Base: "dc=example,dc=com", Admin: "cn=admin,dc=example,dc=com", Password: "a secret of the test's",
		Authority: mailtest.NewAuthority(t), t: t, dir: mailtest.Dir(t),
	}
	if o.Name == "" {
		o.Name = "127.0.0.1"
	}
	cert, key := mailtest.WritePEM(t, s.dir, "server", s.Authority.Issue(t, o.Name))
	mailtest.WriteFile(t, s.dir, "test.schema", slapdSchema)
	mailtest.WriteFile(t, s.dir, "data/README", "mdb\n")
	mailtest.WriteFile(t, s.dir, "slapd.conf", s.conf(o, cert, key))
	mailtest.WriteFile(t, s.dir, "base.ldif", "dn: "+s.Base+"\nobjectClass: domain\ndc: example\n")
	if out, status := Run(t, "slapadd", "-q", "-f", s.path("slapd.conf"), "-l", s.path("base.ldif")); status != 0 {
		t.Fatalf("slapadd:\n%s", out)
	}
	t.Cleanup(func() {
		if s.server != nil {
			s.server.stop()
		}
	})
	for range 3 { // somebody else may take the ports in between
		s.plain, s.safe = freePort(t), freePort(t)
		if err := s.start(); err == nil {
			return s
		}
		s.server.stop()
	}
	t.Fatalf("slapd does not start:\n%s", readFile(s.server.output))
	return nil
}

func (s *Slapd) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Slapd) conf(o SlapdOptions, cert, key string) string {
	return `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/misc.schema
include ` + s.path("test.schema") + `
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile ` + s.path("pid") + `
TLSCertificateFile ` + cert + `
TLSCertificateKeyFile ` + key + `
` + o.Global + `
database mdb
suffix "` + s.Base + `"
rootdn "` + s.Admin + `"
rootpw "` + s.Password + `"
directory ` + s.path("data") + `
maxsize 268435456
envflags nosync
index objectClass eq
index mail,proxyAddresses,mailLocalAddress,entryUUID,modifyTimestamp pres,eq
` + o.Database + "\n"
}

func (s *Slapd) start() error {
	args := []string{mailtest.Need(s.t, "slapd"), "-d", "0", "-f", s.path("slapd.conf"), "-h", s.URL() + " " + s.TLSURL() + " ldapi://" + strings.ReplaceAll(s.Socket(), "/", "%2F")}
	s.server = start(s.t, s.dir, nil, args...)
	return s.server.listening(net.JoinHostPort("127.0.0.1", s.safe))
}

// URL is where it serves in clear text, and with StartTLS.
func (s *Slapd) URL() string { return "ldap://127.0.0.1:" + s.plain }

// TLSURL is where it serves with TLS.
func (s *Slapd) TLSURL() string { return "ldaps://127.0.0.1:" + s.safe }

// Socket is the path of its Unix socket.
func (s *Slapd) Socket() string { return s.path("ldapi") }

// Kill ends it as a crash does.
func (s *Slapd) Kill() {
	s.t.Helper()
	s.server.stop()
	s.closed()
}

// Stop ends it as an administrator does.
func (s *Slapd) Stop() {
	s.t.Helper()
	s.server.leash.Close()
	<-s.server.gone
	s.closed()
}

func (s *Slapd) closed() {
	s.t.Helper()
	for _, port := range []string{s.plain, s.safe} {
		if err := refused(net.JoinHostPort("127.0.0.1", port)); err != nil {
			s.t.Fatalf("slapd still serves: %v", err)
		}
	}
}

// Start starts it again where it was.
func (s *Slapd) Start() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatalf("slapd does not start again: %v\n%s", err, readFile(s.server.output))
	}
}

// Add adds an entry; each line is "attribute: value".
func (s *Slapd) Add(dn string, lines ...string) {
	s.t.Helper()
	s.LDIF("dn: " + dn + "\nchangetype: add\n" + strings.Join(lines, "\n") + "\n")
}

// AddUser adds a person below Base, with these lines beside what a person needs, and
// returns the DN.
func (s *Slapd) AddUser(uid string, lines ...string) string {
	s.t.Helper()
	dn := "uid=" + uid + "," + s.Base
	s.Add(dn, append(person(uid), lines...)...)
	return dn
}

func person(uid string) []string {
	return []string{"objectClass: inetOrgPerson", "objectClass: testMailbox", "uid: " + uid, "cn: " + uid, "sn: " + uid}
}

// Modify changes an entry; the lines are those of LDIF behind "changetype: modify" (RFC 2849).
func (s *Slapd) Modify(dn string, lines ...string) {
	s.t.Helper()
	s.LDIF("dn: " + dn + "\nchangetype: modify\n" + strings.Join(lines, "\n") + "\n")
}

// Delete deletes an entry.
func (s *Slapd) Delete(dn string) {
	s.t.Helper()
	s.LDIF("dn: " + dn + "\nchangetype: delete\n")
}

// Rename gives an entry another name in its place.
func (s *Slapd) Rename(dn, rdn string) {
	s.t.Helper()
	s.LDIF("dn: " + dn + "\nchangetype: modrdn\nnewrdn: " + rdn + "\ndeleteoldrdn: 1\n")
}

// LDIF applies changes in LDIF as Admin, by OpenLDAP's own tool.
func (s *Slapd) LDIF(text string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), mailtest.Need(s.t, "ldapmodify"), "-x", "-H", s.URL(), "-D", s.Admin, "-w", s.Password)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("ldapmodify: %v\n%s", err, out)
	}
}

// AddUsers adds n people, user0@DOMAIN and so on, faster than one by one.
func (s *Slapd) AddUsers(n int, domain string) {
	s.t.Helper()
	var b strings.Builder
	for i := range n {
		uid := fmt.Sprintf("user%d", i)
		fmt.Fprintf(&b, "dn: uid=%s,%s\nchangetype: add\n%s\nmail: %s@%s\n\n", uid, s.Base, strings.Join(person(uid), "\n"), uid, domain)
	}
	s.LDIF(b.String())
}
