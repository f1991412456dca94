package rig

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/go-ldap/ldap/v3"
)

// What userAccountControl is made of (MS-ADTS, 2.2.16).
const (
	accountDisabled   = 0x2
	accountNoPassword = 0x20
	accountNormal     = 0x200
)

// Conn returns a connection on which Admin is bound, over TLS, since a password may not be
// set over any other. It is open until Kill.
func (s *Samba) Conn(t testing.TB) *ldap.Conn {
	t.Helper()
	if s.admin != nil && !s.admin.IsClosing() {
		return s.admin
	}
	c, err := ldap.DialURL(s.URL(SambaLDAPS), ldap.DialWithTLSConfig(&tls.Config{RootCAs: s.Authority.Pool(), ServerName: s.Host}))
	if err != nil {
		t.Fatal(err)
	}
	c.SetTimeout(20 * time.Second)
	if err := c.Bind(s.Admin, s.Password); err != nil {
		c.Close()
		t.Fatal(err)
	}
	s.admin = c
	return c
}

func (s *Samba) leave() {
	if s.admin != nil {
		s.admin.Close()
		s.admin = nil
	}
}

// People is the DN of where users, contacts and groups are made.
func (s *Samba) People() string { return "CN=Users," + s.Base }

// Add makes an object of a class below parent and returns its DN. attributes are names and
// values by turns; a name may come again.
func (s *Samba) Add(t testing.TB, parent, class, name string, attributes ...string) string {
	t.Helper()
	rdn := "CN="
	if class == "organizationalUnit" {
		rdn = "OU="
	}
	r := ldap.NewAddRequest(rdn+ldap.EscapeDN(name)+","+parent, nil)
	r.Attribute("objectClass", []string{class})
	for a := range slices.Chunk(attributes, 2) {
		i := slices.IndexFunc(r.Attributes, func(o ldap.Attribute) bool { return o.Type == a[0] })
		if i < 0 {
			r.Attribute(a[0], nil)
			i = len(r.Attributes) - 1
		}
		r.Attributes[i].Vals = append(r.Attributes[i].Vals, a[1])
	}
	if err := s.Conn(t).Add(r); err != nil {
		t.Fatalf("%s cannot be added: %v", r.DN, err)
	}
	return r.DN
}

// withMail is mail and proxyAddresses as Add takes them; "" is no mail.
func withMail(mail string, proxies []string) []string {
	var a []string
	if mail != "" {
		a = append(a, "mail", mail)
	}
	for _, p := range proxies {
		a = append(a, "proxyAddresses", p)
	}
	return a
}

// AddUser makes an enabled user and returns its DN. proxies are values of proxyAddresses,
// as in "SMTP:user@example.com".
func (s *Samba) AddUser(t testing.TB, name, mail string, proxies ...string) string {
	t.Helper()
	return s.Add(t, s.People(), "user", name, append(withMail(mail, proxies),
		"sAMAccountName", name, "userAccountControl", fmt.Sprint(accountNormal|accountNoPassword))...)
}

// AddContact makes a contact, who has an address and no account.
func (s *Samba) AddContact(t testing.TB, name, mail string, proxies ...string) string {
	t.Helper()
	return s.Add(t, s.People(), "contact", name, withMail(mail, proxies)...)
}

// AddGroup makes a security group; mail may be "".
func (s *Samba) AddGroup(t testing.TB, name, mail string, proxies ...string) string {
	t.Helper()
	return s.Add(t, s.People(), "group", name, append(withMail(mail, proxies), "sAMAccountName", name)...)
}

// AddAccount makes a user who may bind and has no other rights than everybody, and returns
// the name to bind with. Of what was deleted he sees nothing.
func (s *Samba) AddAccount(t testing.TB, name, password string) string {
	t.Helper()
	s.Add(t, s.People(), "user", name, "sAMAccountName", name,
		"userAccountControl", fmt.Sprint(accountNormal), "unicodePwd", adPassword(password))
	return name + "@" + strings.ToLower(sambaRealm)
}

// adPassword is a password as unicodePwd takes it: in quotes, UTF-16LE (MS-ADTS, 3.1.1.3.1.5).
func adPassword(p string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(`"` + p + `"`)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

// Set replaces the values of an attribute; none: it is removed.
func (s *Samba) Set(t testing.TB, dn, attribute string, values ...string) {
	t.Helper()
	r := ldap.NewModifyRequest(dn, nil)
	r.Replace(attribute, values)
	s.modify(t, r)
}

func (s *Samba) modify(t testing.TB, r *ldap.ModifyRequest) {
	t.Helper()
	if err := s.Conn(t).Modify(r); err != nil {
		t.Fatalf("%s cannot be changed: %v", r.DN, err)
	}
}

// Rename gives an object another name and returns its DN from now on.
func (s *Samba) Rename(t testing.TB, dn, name string) string {
	t.Helper()
	return s.move(t, dn, "CN="+ldap.EscapeDN(name), "")
}

// Move puts an object below another parent and returns its DN from now on.
func (s *Samba) Move(t testing.TB, dn, parent string) string {
	t.Helper()
	rdn, _, _ := strings.Cut(dn, ",")
	return s.move(t, dn, rdn, parent)
}

func (s *Samba) move(t testing.TB, dn, rdn, parent string) string {
	t.Helper()
	if err := s.Conn(t).ModifyDN(ldap.NewModifyDNRequest(dn, rdn, true, parent)); err != nil {
		t.Fatalf("%s cannot be renamed: %v", dn, err)
	}
	if parent == "" {
		_, parent, _ = strings.Cut(dn, ",")
	}
	return rdn + "," + parent
}

// Disable disables a user's account.
func (s *Samba) Disable(t testing.TB, dn string) {
	t.Helper()
	s.Set(t, dn, "userAccountControl", fmt.Sprint(accountNormal|accountNoPassword|accountDisabled))
}

// Enable takes Disable back.
func (s *Samba) Enable(t testing.TB, dn string) {
	t.Helper()
	s.Set(t, dn, "userAccountControl", fmt.Sprint(accountNormal|accountNoPassword))
}

// Delete deletes an object, which leaves a tombstone.
func (s *Samba) Delete(t testing.TB, dn string) {
	t.Helper()
	if err := s.Conn(t).Del(ldap.NewDelRequest(dn, nil)); err != nil {
		t.Fatalf("%s cannot be deleted: %v", dn, err)
	}
}

// Join makes an object a member of a group; Part takes it out again.
func (s *Samba) Join(t testing.TB, group, member string) {
	t.Helper()
	r := ldap.NewModifyRequest(group, nil)
	r.Add("member", []string{member})
	s.modify(t, r)
}

// Part takes an object out of a group.
func (s *Samba) Part(t testing.TB, group, member string) {
	t.Helper()
	r := ldap.NewModifyRequest(group, nil)
	r.Delete("member", []string{member})
	s.modify(t, r)
}

// ExtendSchema adds msExchRecipientTypeDetails, which Exchange's setup brings and Samba's
// schema does not have, to what users may have.
func (s *Samba) ExtendSchema(t testing.TB) {
	t.Helper()
	schema := "CN=Schema,CN=Configuration," + s.Base
	s.Add(t, schema, "attributeSchema", "ms-Exch-Recipient-Type-Details",
		"lDAPDisplayName", "msExchRecipientTypeDetails", "attributeID", "1.2.840.113556.1.4.7000.102.50855",
		"attributeSyntax", "2.5.5.16", "oMSyntax", "65", "isSingleValued", "TRUE", "searchFlags", "1")
	s.refreshSchema(t)
	r := ldap.NewModifyRequest("CN=User,"+schema, nil)
	r.Add("mayContain", []string{"msExchRecipientTypeDetails"})
	s.modify(t, r)
	s.refreshSchema(t)
}

// refreshSchema makes changes of the schema hold now (MS-ADTS, 3.1.1.3.3.11).
func (s *Samba) refreshSchema(t testing.TB) {
	t.Helper()
	r := ldap.NewModifyRequest("", nil)
	r.Add("schemaUpdateNow", []string{"1"})
	s.modify(t, r)
}
