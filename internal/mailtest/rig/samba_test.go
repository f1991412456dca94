package rig

import (
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// TestSamba shows that the controller does what tests of ours ask of it.
func TestSamba(t *testing.T) {
	s := NewSamba(t)
	alice := s.AddUser(t, "alice", "alice@example.com", "SMTP:alice@example.com", "smtp:al@example.com")
	group := s.AddGroup(t, "sales", "sales@example.com")
	s.AddContact(t, "carol", "carol@example.org")
	s.Join(t, group, alice)
	s.find(t, s.Base, "(&(proxyAddresses=smtp:al@example.com)(memberOf="+group+"))", 1)
	s.find(t, s.Base, "(msExchRecipientTypeDetails=1)", 0)
	s.ExtendSchema(t)
	s.Set(t, alice, "msExchRecipientTypeDetails", "4")
	s.find(t, s.Base, "(msExchRecipientTypeDetails=*)", 1)
	s.Kill()
	s.Start(t)
	s.Disable(t, alice)
	alice = s.Rename(t, alice, "alicia")
	s.find(t, s.Base, "(&(cn=alicia)(userAccountControl:1.2.840.113556.1.4.803:=2))", 1)
	s.Part(t, group, alice)
	s.Delete(t, alice)
	s.find(t, s.Base, "(cn=alicia)", 0)

	ordinary := s.AddAccount(t, "reader", "R3ader.Passw0rd")
	for _, port := range []int{SambaLDAP, SambaGC} {
		c, err := ldap.DialURL(s.URL(port))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Bind(ordinary, "R3ader.Passw0rd"); err != nil {
			t.Error(err)
		}
		c.Close()
	}
}

func (s *Samba) find(t *testing.T, base, filter string, want int) {
	t.Helper()
	r, err := s.Conn(t).Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, filter, []string{"cn"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Entries) != want {
		t.Errorf("%s finds %d, not %d", filter, len(r.Entries), want)
	}
}
