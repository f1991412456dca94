package ldapdir

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"

	"github.com/go-ldap/ldap/v3"
)

// passwordsOfAD: an administrator wants to know what is wrong, and no account to be locked.
func passwordsOfAD(t *testing.T, d *domain) {
	d.AddUser(t, "greta", "greta@example.com")
	name := d.AddAccount(t, "mailreader", ordinaryPassword)
	d.Set(t, d.Base, "lockoutThreshold", "5") // or wrong passwords are not counted
	c := d.config(t, rig.SambaLDAPS)
	c.BindDN, c.Password = name, "wrong"
	clock := &shifted{}
	c.Now = clock.now
	s := newSource(t, c)
	for range 9 { // within five minutes
		says(t, s, "greta@example.com", evidence.Unavailable, "wrong password")
		clock.forward(31 * time.Second) // the pause after a failure is over
	}
	var m kept
	if err := m.pull(t.Context(), s); err == nil || !strings.Contains(err.Error(), "wrong password") {
		t.Errorf("pulled with a wrong password: %v", err)
	}
	if n := d.read(t, "CN=mailreader,"+d.People(), "badPwdCount"); n != "1" {
		t.Errorf("a wrong password was tried %s times", n)
	}
	c.BindDN, c.Password, c.Now = "nobody@ad.example.com", "x", nil
	says(t, newSource(t, c), "greta@example.com", evidence.Unavailable, "nobody@ad.example.com")
	d.Set(t, "CN=mailreader,"+d.People(), "userAccountControl", "514")
	c.BindDN, c.Password = name, ordinaryPassword
	says(t, newSource(t, c), "greta@example.com", evidence.Unavailable, name+" (the account is disabled)")
}

func (d *domain) read(t *testing.T, dn, attribute string) string {
	t.Helper()
	r, err := d.Conn(t).Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false,
		"(objectClass=*)", []string{attribute}, nil))
	if err != nil || len(r.Entries) != 1 {
		t.Fatalf("%s cannot be read: %v", dn, err)
	}
	return r.Entries[0].GetAttributeValue(attribute)
}

// shifted is a clock that can be put forward.
type shifted struct{ by atomic.Int64 }

func (c *shifted) now() time.Time           { return time.Now().Add(time.Duration(c.by.Load())) }
func (c *shifted) forward(by time.Duration) { c.by.Add(int64(by)) }

// certificatesOfAD: a controller whose certificate nobody vouches for is told nothing, the
// password least of all.
func certificatesOfAD(t *testing.T, d *domain) {
	d.AddUser(t, "heidi", "heidi@example.com")
	for _, port := range []int{rig.SambaLDAP, rig.SambaLDAPS, rig.SambaGC, rig.SambaGCS} {
		c := d.config(t, port)
		c.StartTLS = c.URLs[0].Scheme == "ldap"
		says(t, newSource(t, c), "heidi@example.com", evidence.Exists, "")
		c.TLSConfig = &tls.Config{RootCAs: mailtest.NewAuthority(t).Pool()}
		s := newSource(t, c)
		says(t, s, "heidi@example.com", evidence.Unavailable, "not trusted")
		var m kept
		if err := m.pull(t.Context(), s); err == nil || !strings.Contains(err.Error(), "not trusted") {
			t.Errorf("pulled from a controller that is not trusted: %v", err)
		}
	}
}

// anonymousInAD: Active Directory tells nobody anything but its rootDSE.
func anonymousInAD(t *testing.T, d *domain) {
	c := d.config(t, rig.SambaLDAPS)
	c.BindDN, c.Password = "", ""
	s := newSource(t, c)
	says(t, s, "anybody@example.com", evidence.Unavailable, "bind DN")
	var m kept
	if err := m.pull(t.Context(), s); err == nil {
		t.Error("pulled without a password")
	}
}

// strictController takes no password in clear text, and so does every one that was not told otherwise.
func strictController(t *testing.T, d *domain) {
	d.AddUser(t, "ivan", "ivan@example.com")
	d.RequireTLS(t, true)
	defer d.RequireTLS(t, false)
	c := d.config(t, rig.SambaLDAP)
	says(t, newSource(t, c), "ivan@example.com", evidence.Unavailable, "starttls")
	c.StartTLS = true
	says(t, newSource(t, c), "ivan@example.com", evidence.Exists, "")
	says(t, newSource(t, d.config(t, rig.SambaLDAPS)), "ivan@example.com", evidence.Exists, "")
}

// crew makes ten contacts below an OU of their own.
func (d *domain) crew(t *testing.T, name string) (ou string, all []string) {
	t.Helper()
	ou = d.Add(t, d.Base, "organizationalUnit", name)
	for _, c := range "abcdefghij" {
		a := name + "-" + string(c) + "@example.com"
		d.Add(t, ou, "contact", name+"-"+string(c), "mail", a)
		all = append(all, a)
	}
	return ou, all
}

// controllerGoes: one that is killed within a pull gives no half of the truth, and what
// is asked meanwhile is unavailable.
func controllerGoes(t *testing.T, d *domain) {
	ou, all := d.crew(t, "goes")
	clock := &shifted{}
	for i, full := range []bool{true, false} {
		c := d.config(t, []int{rig.SambaLDAPS, rig.SambaGC}[i])
		c.Base, c.PageSize, c.Now = ou, 3, clock.now
		s := newSource(t, c)
		var m kept
		if !full {
			m.mustPull(t, s)
			for _, a := range all[:6] {
				d.Set(t, "CN="+strings.TrimSuffix(a, "@example.com")+","+ou, "mail", "new-"+a)
			}
		}
		says(t, s, all[9], evidence.Exists, "")
		says(t, s, "goes@example.com", evidence.Missing, "")
		before := slices.Clone(m.cursor)
		h := holding{known: m.known, named: map[string]bool{}}
		if full {
			h.known = map[string][]string{}
		}
		h.took = func() error {
			if h.takes == 4 {
				d.Kill()
			}
			return nil
		}
		p, err := pullInto(t.Context(), s, m.cursor, &h)
		if err == nil || errors.Is(err, directory.ErrStartOver) || p.Cursor != nil || h.takes < 4 {
			t.Errorf("a controller was killed, and the pull ended with %+v, %v after %d", p, err, h.takes)
		}
		for _, a := range []string{all[9], "goes@example.com"} {
			says(t, s, a, evidence.Unavailable, "")
		}
		d.Start(t)
		clock.forward(time.Minute) // the pause after a failure is over
		says(t, s, all[9], evidence.Exists, "")
		says(t, s, "goes@example.com", evidence.Missing, "")
		m.cursor = before
		m.mustPull(t, s)
		if full {
			continue
		}
		for i := range all[:6] {
			all[i] = "new-" + all[i]
		}
		if got := m.addresses(); !slices.Equal(got, slices.Sorted(slices.Values(all))) {
			t.Errorf("after a pull that was cut short and another one: %q", got)
		}
	}
}

func pullInto(ctx context.Context, s *Source, cursor []byte, into directory.Copy) (directory.Pulled, error) {
	if cursor == nil {
		return s.Full(ctx, into)
	}
	return s.Changes(ctx, cursor, into)
}

// controllerSilent: one that keeps its connections and says nothing is given up after a time.
func controllerSilent(t *testing.T, d *domain) {
	ou, all := d.crew(t, "silent")
	c := d.config(t, rig.SambaLDAPS)
	c.Base, c.PageSize = ou, 3
	patient := newSource(t, c)
	says(t, patient, all[0], evidence.Exists, "")
	c.Timeout = 1500 * time.Millisecond
	h := holding{known: map[string][]string{}, named: map[string]bool{}}
	h.took = func() error {
		if h.takes == 4 {
			d.Freeze()
		}
		return nil
	}
	if _, err := newSource(t, c).Full(t.Context(), &h); err == nil || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("pulled from a controller that says nothing: %v", err)
	}
	d.Freeze() // again, or for the first time where the pull did not come so far on a busy machine
	c.Timeout = 200 * time.Millisecond
	says(t, newSource(t, c), all[0], evidence.Unavailable, "no answer in time")
	d.Thaw()
	says(t, patient, all[0], evidence.Exists, "")
}

// foreignCursors: whatever is not the last word of this very database wants a full pull.
func foreignCursors(t *testing.T, d *domain) {
	ou, all := d.crew(t, "cursors")
	c := d.config(t, rig.SambaLDAPS)
	c.Base = ou
	s := newSource(t, c)
	var m kept
	m.mustPull(t, s)
	for name, change := range map[string]func(*cursor){
		"another database": func(c *cursor) { c.Invocation = strings.Repeat("0", len(c.Invocation)) },
		"a restored one":   func(c *cursor) { c.USN += 1000 },
		"another filter":   func(c *cursor) { c.Filter = "(cn=*)" },
	} {
		var cur cursor
		if err := json.Unmarshal(m.cursor, &cur); err != nil || cur.Invocation == "" || cur.USN == 0 {
			t.Fatalf("%s: %v", m.cursor, err)
		}
		change(&cur)
		h := holding{known: m.known, named: map[string]bool{}}
		if _, err := s.Changes(t.Context(), cur.encode(), &h); !errors.Is(err, directory.ErrStartOver) || h.takes+h.stills > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	m.mustPull(t, s)
	if got := m.addresses(); !slices.Equal(got, all) {
		t.Errorf("%q, not %q", got, all)
	}
}

// anotherController: one with a database of its own stands in for the first, live at once,
// and for a copy by a full pull.
func anotherController(t *testing.T, d *domain) {
	second := &domain{Samba: d.Another(t)}
	d.AddUser(t, "judy", "judy@example.com")
	second.AddUser(t, "judy", "judy@example.com")
	second.AddUser(t, "karl", "karl@example.com")
	c := d.config(t, rig.SambaLDAPS)
	c.URLs = append(c.URLs, parseURL(t, second.URL(rig.SambaLDAPS)))
	s := newSource(t, c)
	var m kept
	m.mustPull(t, s)
	says(t, s, "judy@example.com", evidence.Exists, "")
	says(t, s, "karl@example.com", evidence.Missing, "")
	d.Kill()
	says(t, s, "karl@example.com", evidence.Exists, "")
	if err := m.pull(t.Context(), s); !errors.Is(err, directory.ErrStartOver) {
		t.Errorf("the other controller's changes were told: %v", err)
	}
	m.cursor = nil
	m.mustPull(t, s)
	if got := m.addresses(); !slices.Equal(got, []string{"judy@example.com", "karl@example.com"}) {
		t.Errorf("%q", got)
	}
}
