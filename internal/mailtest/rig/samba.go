package rig

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"backstop/internal/mailtest"
)

// Samba's ports for LDAP, which cannot be chosen.
const (
	SambaLDAP  = 389
	SambaLDAPS = 636
	SambaGC    = 3268 // global catalogue
	SambaGCS   = 3269 // global catalogue over TLS
)

const (
	sambaRealm = "AD.EXAMPLE.COM"
	sambaBase  = "DC=ad,DC=example,DC=com"
	sambaAdmin = "Administrator@ad.example.com"
	sambaWord  = "Adm1n.Passw0rd"
	sambaSetup = "/usr/share/samba/setup"
)

// Samba is a domain controller of an Active Directory domain of its own, Samba's. Of all
// that one does it serves LDAP only, on a loopback address of its own.
type Samba struct {
	Host      string // its address, 127.x.y.z
	Base      string // of the domain, as a DN
	Admin     string // who may do everything: a name to bind with
	Password  string // Admin's
	Authority *mailtest.Authority

	dir   string
	p     *process   // nil: not running
	admin *ldap.Conn // nil: not bound
}

// NewSamba makes a domain, which takes a processor some five seconds, and starts its
// controller. Each has another identity. It is gone when the test ends.
func NewSamba(t testing.TB) *Samba {
	t.Helper()
	return newSamba(t, mailtest.NewAuthority(t))
}

// Another makes another domain with the same name, whose controller has a certificate of the same authority.
func (s *Samba) Another(t testing.TB) *Samba {
	t.Helper()
	return newSamba(t, s.Authority)
}

func newSamba(t testing.TB, a *mailtest.Authority) *Samba {
	t.Helper()
	mailtest.NeedRoot(t) // the ports are below 1024
	mailtest.Need(t, "samba")
	tool := mailtest.Need(t, "samba-tool")
	if _, err := os.Stat(filepath.Join(sambaSetup, "provision.ldif")); err != nil {
		mailtest.Absent(t, "what Samba makes a domain of (samba-ad-provision)")
	}
	s := &Samba{
		Host: freeHost(t), Base: sambaBase, Admin: sambaAdmin, Password: sambaWord,
		Authority: a, dir: mailtest.Dir(t),
	}
	cert, key := mailtest.WritePEM(t, s.dir, "dc", s.Authority.Issue(t, s.Host))
	if err := os.Chmod(key, 0o600); err != nil { // it takes no other
		t.Fatal(err)
	}
	conf := mailtest.WriteFile(t, s.dir, "smb.conf", s.config(cert, key))
	// No WINS, no DNS and no printers in the file, so that nothing outside the folder is written.
	cmd := exec.CommandContext(t.Context(), tool, "domain", "provision", "--quiet", "--configfile="+conf,
		"--realm="+sambaRealm, "--domain=AD", "--host-name=dc", "--host-ip="+s.Host, "--adminpass="+s.Password,
		"--server-role=dc", "--dns-backend=NONE")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("samba-tool: %v\n%.4000s", err, out)
	}
	t.Cleanup(s.Kill)
	s.Start(t)
	return s
}

// config keeps everything inside the folder. Nothing here must outlive the machine, so
// nothing waits for the disk.
func (s *Samba) config(cert, key string) string {
	return strings.NewReplacer("DIR", s.dir, "HOST", s.Host, "CERT", cert, "KEY", key).Replace(`[global]
 workgroup = AD
 realm = ` + sambaRealm + `
 netbios name = DC
 server role = active directory domain controller
 server services = ldap
 interfaces = HOST/8
 bind interfaces only = yes
 private dir = DIR/private
 state directory = DIR/state
 cache directory = DIR/cache
 lock directory = DIR/lock
 pid directory = DIR/run
 binddns dir = DIR/bind-dns
 ncalrpc dir = DIR/run/ncalrpc
 log file = DIR/log
 panic action =
` + strongAuth + `no
 tls enabled = yes
 tls certfile = CERT
 tls keyfile = KEY
 tls cafile =
 dsdb:schema update allowed = yes
 ldb:nosync = yes
[sysvol]
 path = DIR/sysvol
 read only = no
[netlogon]
 path = DIR/sysvol/scripts
 read only = no
`)
}

// Start starts it again, with everything that it had, and waits until it answers.
func (s *Samba) Start(t testing.TB) {
	t.Helper()
	if s.p != nil {
		t.Fatal("Samba runs already")
	}
	s.p = start(t, s.dir, nil, mailtest.Need(t, "samba"), "--foreground", "--no-process-group", "--debug-stdout", "--model=single",
		"--configfile="+filepath.Join(s.dir, "smb.conf"), "--debuglevel=1")
	for _, port := range []int{SambaLDAP, SambaLDAPS, SambaGC, SambaGCS} {
		if err := s.p.listening(s.addr(port)); err != nil {
			t.Fatalf("Samba does not listen at %s: %v\n%.4000s", s.addr(port), err, readFile(s.p.output))
		}
	}
}

// Kill ends it at once, as a crash does. Killing one that does not run does nothing.
func (s *Samba) Kill() {
	if s.p == nil {
		return
	}
	s.p.stop()
	s.p = nil
	s.leave()
	refused(s.addr(SambaLDAP))
}

// RequireTLS starts it anew so that it takes a password over TLS only, as controllers do unless told
// otherwise; or no more so.
func (s *Samba) RequireTLS(t testing.TB, yes bool) {
	t.Helper()
	s.Kill()
	was, is := strongAuth+"yes\n", strongAuth+"no\n"
	if yes {
		was, is = is, was
	}
	text := readFile(filepath.Join(s.dir, "smb.conf"))
	mailtest.WriteFile(t, s.dir, "smb.conf", strings.Replace(text, was, is, 1))
	s.Start(t)
}

const strongAuth = " ldap server require strong auth = "

// Freeze lets it say nothing from now on, while its sockets stay open; Thaw ends that.
func (s *Samba) Freeze() { syscall.Kill(-s.p.cmd.Process.Pid, syscall.SIGSTOP) }

// Thaw ends what Freeze began.
func (s *Samba) Thaw() { syscall.Kill(-s.p.cmd.Process.Pid, syscall.SIGCONT) }

func (s *Samba) addr(port int) string { return net.JoinHostPort(s.Host, strconv.Itoa(port)) }

// URL returns where it serves: ldap:// or ldaps://, as belongs to the port.
func (s *Samba) URL(port int) string {
	scheme := "ldap"
	if port == SambaLDAPS || port == SambaGCS {
		scheme = "ldaps"
	}
	return fmt.Sprintf("%s://%s", scheme, s.addr(port))
}

// freeHost picks a loopback address where Samba's ports are free: they are always the
// same, so that tests that run at once must not share an address.
func freeHost(t testing.TB) string {
	t.Helper()
	var last error
	for range 50 {
		host := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
		if last = portsFree(host, SambaLDAP, SambaLDAPS, SambaGC, SambaGCS); last == nil {
			return host
		}
		if errors.Is(last, syscall.EADDRNOTAVAIL) || errors.Is(last, syscall.EACCES) {
			break
		}
	}
	mailtest.Absent(t, "a loopback address for Samba: "+last.Error())
	return ""
}

func portsFree(host string, ports ...int) error {
	for _, port := range ports {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		ln.Close()
	}
	return nil
}
