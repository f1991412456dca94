package ldapdir

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"slices"
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/mailtest/rig"

	"github.com/go-ldap/ldap/v3"
)

// domain is a domain controller, with what its tests share.
type domain struct {
	*rig.Samba
	ordinary string // who may bind and has no other rights
	staff    string // an OU
}

const ordinaryPassword = "R3ader.Passw0rd"

// TestActiveDirectory runs all that wants a domain controller against one, as making a domain takes
// seconds. Each part has people of its own.
func TestActiveDirectory(t *testing.T) {
	t.Parallel()
	d := &domain{Samba: rig.NewSamba(t)}
	d.ordinary = d.AddAccount(t, "reader", ordinaryPassword)
	d.staff = d.Add(t, d.Base, "organizationalUnit", "Staff")
	d.ExtendSchema(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *domain)
	}{
		{"life of a user", lifeOfAUser},
		{"members of a group", membersOfAGroup},
		{"nobody may put a filter in", escapedInAD},
		{"pages", pagesOfAD},
		{"passwords", passwordsOfAD},
		{"certificates", certificatesOfAD},
		{"strangers", anonymousInAD},
		{"a strict controller", strictController},
		{"a controller goes while it is asked", controllerGoes},
		{"a controller says nothing", controllerSilent},
		{"a cursor of another time", foreignCursors},
		{"another controller", anotherController}, // the last: the first one is gone then
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, d) })
	}
}

// config is a source's that asks as administrator over TLS.
func (d *domain) config(t testing.TB, port int) Config {
	t.Helper()
	return Config{
		Name: "ad", URLs: []*url.URL{parseURL(t, d.URL(port))}, TLSConfig: &tls.Config{RootCAs: d.Authority.Pool()},
		BindDN: d.Admin, Password: d.Password, Base: d.Base,
	}
}

// view is one way to look at the domain: asked live, and by a copy that follows.
type view struct {
	name string
	live *Source
	copy kept
}

// views are the ways in which a domain is asked in practice.
func (d *domain) views(t *testing.T, change func(*Config)) []*view {
	t.Helper()
	all := []*view{{name: "administrator, ldaps"}, {name: "ordinary account, starttls"}, {name: "global catalogue"}}
	for i, v := range all {
		c := d.config(t, [...]int{rig.SambaLDAPS, rig.SambaLDAP, rig.SambaGCS}[i])
		if i > 0 {
			c.BindDN, c.Password, c.StartTLS = d.ordinary, ordinaryPassword, i == 1
		}
		change(&c)
		v.live = newSource(t, c)
		if err := v.copy.pull(t.Context(), v.live); err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
	}
	return all
}

// shows says whether live and copied exactly these addresses exist, of all.
func (v *view) shows(t *testing.T, step string, all, exist []string) {
	t.Helper()
	for _, a := range all {
		want := evidence.Missing
		if slices.Contains(exist, a) {
			want = evidence.Exists
		}
		says(t, v.live, a, want, "")
	}
	if err := v.copy.pull(t.Context(), v.live); err != nil {
		t.Fatalf("%s, %s: %v", step, v.name, err)
	}
	slices.Sort(exist)
	if got := v.copy.addresses(); !slices.Equal(got, exist) {
		t.Errorf("%s, %s: the copy has %q, not %q", step, v.name, got, exist)
	}
}

// lifeOfAUser changes a user in each way in which administrators do. After each step
// every view must have followed.
func lifeOfAUser(t *testing.T, d *domain) {
	steps := d.life(t)
	steps[0].do()
	views := d.views(t, func(c *Config) { c.Base = d.staff })
	for _, s := range steps[1:] {
		s.do()
		for _, v := range views {
			v.shows(t, s.name, lifelong, s.exist)
		}
		if t.Failed() {
			t.Fatalf("after %q", s.name)
		}
	}
}

// step is a change, and the addresses that exist after it.
type step struct {
	name  string
	do    func()
	exist []string
}

const (
	alice, al, ally    = "alice@example.com", "al@example.com", "ally@example.com"
	room, sales, carol = "room@example.com", "sales@example.com", "carol@example.com"
	dave               = "dave@example.com"
)

// lifelong are the addresses that exist at some time in life, and one that never does.
var lifelong = []string{alice, al, ally, room, sales, carol, dave, "bob@example.com"}

func (d *domain) life(t *testing.T) []step {
	in := func(name string) string { return "CN=" + name + "," + d.staff }
	office := "OU=Office," + d.staff
	return []step{
		{"a group with an address", func() {
			d.Add(t, d.staff, "group", "sales", "sAMAccountName", "sales", "mail", sales, "proxyAddresses", "SMTP:"+sales)
		}, []string{sales}},
		{"nothing", func() {}, []string{sales}},
		{"added", func() {
			d.Add(t, d.staff, "user", "alice", "sAMAccountName", "alice", "userAccountControl", "544", "mail", alice,
				"proxyAddresses", "SMTP:Alice@Example.COM", "proxyAddresses", "x500:/o=x@example.com")
		}, []string{sales, alice}},
		{"a second proxy address", func() {
			d.Set(t, in("alice"), "proxyAddresses", "SMTP:"+alice, "smtp:"+al)
		}, []string{sales, alice, al}},
		{"another primary address", func() {
			d.Set(t, in("alice"), "mail", ally)
			d.Set(t, in("alice"), "proxyAddresses", "smtp:"+alice, "SMTP:"+ally)
		}, []string{sales, alice, ally}},
		{"renamed", func() { d.Rename(t, in("alice"), "Alice Smith") }, []string{sales, alice, ally}},
		{"an address taken away", func() { d.Set(t, in("Alice Smith"), "proxyAddresses", "SMTP:"+ally) }, []string{sales, ally}},
		{"disabled", func() { d.Disable(t, in("Alice Smith")) }, []string{sales}},
		{"enabled", func() { d.Enable(t, in("Alice Smith")) }, []string{sales, ally}},
		{"a contact", func() { d.Add(t, d.staff, "contact", "carol", "mail", carol) }, []string{sales, ally, carol}},
		{"a room, whose account is disabled", func() {
			d.Add(t, d.staff, "user", "room", "sAMAccountName", "room", "userAccountControl", "514",
				"mail", room, "msExchRecipientTypeDetails", "16")
		}, []string{sales, ally, carol, room}},
		{"moved elsewhere", func() { d.Move(t, in("Alice Smith"), d.People()) }, []string{sales, carol, room}},
		{"moved back", func() { d.Move(t, "CN=Alice Smith,"+d.People(), d.staff) }, []string{sales, ally, carol, room}},
		{"all addresses taken away", func() { d.Set(t, in("carol"), "mail") }, []string{sales, ally, room}},
		{"deleted", func() { d.Delete(t, in("Alice Smith")) }, []string{sales, room}},
		{"another one of the same name", func() {
			d.Add(t, d.staff, "user", "Alice Smith", "sAMAccountName", "alice", "userAccountControl", "544", "mail", alice)
		}, []string{sales, room, alice}},
		{"two deleted and one added", func() {
			d.Delete(t, in("room"))
			d.Delete(t, in("Alice Smith"))
			d.Add(t, d.staff, "contact", "alice", "mail", al)
		}, []string{sales, al}},
		{"a department", func() {
			d.Add(t, d.staff, "organizationalUnit", "Office")
			d.Add(t, office, "contact", "dave", "mail", dave)
		}, []string{sales, al, dave}},
		{"the department moved elsewhere", func() { d.Move(t, office, d.Base) }, []string{sales, al}},
		{"the department moved back", func() { d.Move(t, "OU=Office,"+d.Base, d.staff) }, []string{sales, al, dave}},
		{"the department deleted", func() {
			d.Delete(t, "CN=dave,"+office)
			d.Delete(t, office)
		}, []string{sales, al}},
	}
}

// membersOfAGroup has a filter that says something of others: to come into a group or
// to leave it changes the group, and not the one who does.
func membersOfAGroup(t *testing.T, d *domain) {
	all := []string{"dora@example.com", "emil@example.com"}
	dora, emil := d.AddUser(t, "dora", all[0]), d.AddContact(t, "emil", all[1], "SMTP:"+all[1])
	group := d.AddGroup(t, "mail people", "")
	d.Join(t, group, dora)
	views := d.views(t, func(c *Config) { c.Filter = "(memberOf=" + group + ")" })
	for _, s := range []struct {
		name  string
		do    func()
		exist []string
	}{
		{"nothing", func() {}, all[:1]},
		{"joined", func() { d.Join(t, group, emil) }, all},
		{"renamed", func() { emil = d.Rename(t, emil, "emil (old)") }, all},
		{"parted", func() { d.Part(t, group, dora) }, all[1:]},
	} {
		s.do()
		for _, v := range views {
			v.shows(t, s.name, all, slices.Clone(s.exist))
		}
	}
	d.Part(t, group, emil)
	for _, v := range views { // nobody at all is more likely to be a mistake
		says(t, newSource(t, v.live.cfg), all[1], evidence.Unavailable, "nobody for whom the filter")
		if err := v.copy.pull(t.Context(), v.live); err == nil {
			t.Errorf("%s: a copy of nobody is taken", v.name)
		}
	}
}

// escapedInAD asks for addresses that would be a filter if they were put in as they are, and
// for one that is made of such characters and does exist.
func escapedInAD(t *testing.T, d *domain) {
	odd := `"st*r (x)\\y"@example.com`
	key := address(t, odd).Key()
	d.AddContact(t, "odd", key, "SMTP:"+key)
	d.AddUser(t, "frank", "frank@example.com")
	for _, filter := range []string{"", "(objectClass=*)", "(|(mail={address})(proxyAddresses=smtp:{user}@{domain}))"} {
		c := d.config(t, rig.SambaLDAPS)
		c.Filter = filter
		s := newSource(t, c)
		says(t, s, odd, evidence.Exists, "")
		says(t, s, "frank@example.com", evidence.Exists, "")
		for _, no := range []string{
			`*@example.com`, `f*@example.com`, `"*"@example.com`, `"frank)(mail=*"@example.com`, `"*)(objectClass=*))(|(mail=*"@example.com`,
			`"\\2a"@example.com`, `"\\66rank"@example.com`, `"frank)(!(mail=x"@example.com`, `"{address}"@example.com`,
			`"st\\2ar (x)\\y"@example.com`, `"st*r (x)\\5cy"@example.com`, `fran*@example.com`, `"&"@example.com`, `|@example.com`,
		} {
			says(t, s, no, evidence.Missing, "")
		}
		for _, raw := range []string{"\x00", "f\x00@example.com", "*\x00", "frank@example.com)(\x00", `\00`, "x)(mail=*\x00", "\xff*"} {
			d.findsNobody(t, s.filter.fill(raw, raw, raw))
		}
	}
	// Samba reads a value up to a NUL only, so such an address must not come as far as that.
	if _, err := mail.ParseAddress("frank@example.com\x00"); err == nil {
		t.Error("an address with a NUL")
	}
	if _, err := mail.ParseAddress("\"frank\x00\"@example.com"); err == nil {
		t.Error("an address with a NUL in quotes")
	}
}

// findsNobody asks with a filter made of what no mail.Address holds.
func (d *domain) findsNobody(t *testing.T, filter string) {
	t.Helper()
	r, err := d.Conn(t).Search(ldap.NewSearchRequest(d.Base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
		filter, []string{"1.1"}, nil))
	if err != nil || len(r.Entries) > 0 {
		t.Errorf("%q: %v, %d", filter, err, len(r.Entries))
	}
}

// provesBriefly: to know that there is somebody at all one entry is enough, but Samba takes no heed of a
// limit of size.
func (d *domain) provesBriefly(t *testing.T, ou string) {
	t.Helper()
	c := d.config(t, rig.SambaLDAPS)
	c.Base = ou
	s := newSource(t, c)
	con, err := s.connect(t.Context(), s.servers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer con.close()
	err = con.prove(t.Context(), ou, s.filter.anybody(true))
	if read := questionOctets - con.wire.left.Load(); err != nil || con.proven.IsZero() || read > 4096 {
		t.Errorf("%d octets were read to find one entry: %v", read, err)
	}
}

// pagesOfAD pulls more people than a domain controller gives in one answer (1000).
func pagesOfAD(t *testing.T, d *domain) {
	const many = 1100
	ou := d.Add(t, d.Base, "organizationalUnit", "Many")
	var want []string
	for i := range many {
		a := fmt.Sprintf("many%d@example.com", i)
		want = append(want, a)
		d.Add(t, ou, "contact", fmt.Sprint("many", i), "mail", a)
	}
	slices.Sort(want)
	d.provesBriefly(t, ou)
	for _, size := range []int{0, 100, 1100} {
		for i, v := range d.views(t, func(c *Config) { c.Base, c.PageSize = ou, size }) {
			if got := v.copy.addresses(); !slices.Equal(got, want) {
				t.Errorf("%s, %d a page: %d addresses, not %d", v.name, size, len(got), many)
			}
			if err := v.copy.pull(t.Context(), v.live); err != nil {
				t.Error(err)
			}
			if got := len(v.copy.addresses()); got != many {
				t.Errorf("%s, %d a page: %d addresses after no change, not %d", v.name, size, got, many)
			}
			// Who sees what was deleted needs no list of all.
			if named := len(v.copy.last.named); (i == 0) != (named == 0) {
				t.Errorf("%s: %d were named", v.name, named)
			}
		}
	}
}
