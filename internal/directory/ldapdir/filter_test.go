package ldapdir

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/mailtest/rig"

	"github.com/go-ldap/ldap/v3"
	"pgregory.net/rapid"
)

func TestFilters(t *testing.T) {
	for _, tt := range []struct {
		filter     string
		fail       string // part of CheckFilter's error
		pull       string // part of CanPull's
		question   string // for ann@example.com
		anybody    string
		attributes string
	}{
		{filter: "", question: "(|(mail=ann@example.com)(proxyAddresses=smtp:ann@example.com)(mailLocalAddress=ann@example.com))",
			anybody: "(|(mail=*)(proxyAddresses=smtp:*)(mailLocalAddress=*))", attributes: "mail proxyAddresses mailLocalAddress"},
		{filter: " (objectClass=person) ", question: "(&(objectClass=person)(|(mail=ann@example.com)(proxyAddresses=smtp:ann@example.com)(mailLocalAddress=ann@example.com)))",
			anybody: "(&(objectClass=person)(|(mail=*)(proxyAddresses=smtp:*)(mailLocalAddress=*)))", attributes: "mail proxyAddresses mailLocalAddress"},
		{filter: "(&(a=b)(otherMailbox=smtp:{address}))", question: "(&(a=b)(otherMailbox=smtp:ann@example.com))", anybody: "(&(a=b)(otherMailbox=smtp:*))", attributes: "otherMailbox"},
		{filter: "(mail=*{address}*)", pull: "a part of the value", question: "(mail=*ann@example.com*)", anybody: "(mail=*)", attributes: "mail"},
		{filter: "(uid={user})", pull: "{user}", question: "(uid=ann)", anybody: "(uid=*)"},
		{filter: "(|(mail={user}@{domain})(uid={user}))", pull: "{user}", question: "(|(mail=ann@example.com)(uid=ann))", anybody: "(|(mail=*@*)(uid=*))"},
		{filter: "(&(associatedDomain={domain})(mail={address}))", pull: "{domain}", question: "(&(associatedDomain=example.com)(mail=ann@example.com))",
			anybody: "(&(associatedDomain=*)(mail=*))", attributes: "mail"},
		{filter: `(cn=a\7bb\7d)`, question: `(&(cn=a\7bb\7d)` + strings.ReplaceAll(byAddress, "{address}", "ann@example.com") + ")",
			anybody: `(&(cn=a\7bb\7d)` + strings.ReplaceAll(byAddress, "{address}", "*") + ")", attributes: "mail proxyAddresses mailLocalAddress"},
		{filter: "mail={address}", fail: "not one of RFC 4515"},
		{filter: "(mail={address}", fail: "not one of RFC 4515"},
		{filter: "(mail={address}))", fail: "not one of RFC 4515"},
		{filter: "(&(mail={address})x)", fail: "not one of RFC 4515"},
		{filter: "(mail={adress})", fail: "a brace that is none of"},
		{filter: "(mail={address)", fail: "a brace that is none of"},
		{filter: "({user}=x)", fail: "in a value only"},
		{filter: "(&(mail={address})({domain}=x))", fail: "in a value only"},
		{filter: "({address}=*)", fail: "in a value only"},
		{filter: "(cn:{user}:=x)", fail: "in a value only"},
		{filter: "(mail=**)", fail: "asterisks"},
		{filter: "(=x)", fail: "has no name"},
		{filter: "(ma il=x)", fail: "no attribute's name"},
		{filter: "(mail=\\)", fail: "not one of RFC 4515"},
		{filter: "(mail=" + strings.Repeat("x", maxFilter) + ")", fail: "longer"},
		{filter: "()", fail: "not one of RFC 4515"},
		{filter: strings.Repeat("(", 500), fail: "not one of RFC 4515"},
	} {
		err := CheckFilter(tt.filter)
		if tt.fail != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fail) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%.100q: %v, want %q", tt.filter, err, tt.fail)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.filter, err)
			continue
		}
		if err := CanPull(tt.filter); (err == nil) != (tt.pull == "") || err != nil && !strings.Contains(err.Error(), tt.pull) {
			t.Errorf("%q: may be pulled: %v, want %q", tt.filter, err, tt.pull)
		}
		f, _ := parseTemplate(tt.filter)
		if got := f.question(address(t, "Ann@example.com"), false); got != tt.question {
			t.Errorf("%q: asked with\n%s, want\n%s", tt.filter, got, tt.question)
		}
		if got := f.anybody(false); got != tt.anybody {
			t.Errorf("%q: anybody is\n%s, want\n%s", tt.filter, got, tt.anybody)
		}
		if got := strings.Join(f.attributes(), " "); got != tt.attributes {
			t.Errorf("%q: attributes %s, want %s", tt.filter, got, tt.attributes)
		}
		ad := f.question(address(t, "ann@example.com"), true)
		if _, err := ldap.CompileFilter(ad); err != nil || strings.Contains(ad, "userAccountControl") == f.whole {
			t.Errorf("%q: for Active Directory %s (%v)", tt.filter, ad, err)
		}
	}
}

func TestIDN(t *testing.T) {
	f, _ := parseTemplate("(mail={address})")
	want := `(|(mail=ann@xn--bcher-kva.example)(mail=ann@b\c3\bccher.example))`
	if got := f.question(address(t, "ann@b\u00fccher.example"), false); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// compiledValues are the values in a filter, and its form without them.
func compiledValues(t testing.TB, filter string) (values []string, form string) {
	p, err := ldap.CompileFilter(filter)
	if err != nil {
		t.Fatalf("%q: %v", filter, err)
	}
	err = eachItem(p, func(attribute string, vs []string) error {
		form += fmt.Sprintf("%s/%d ", attribute, len(vs))
		values = append(values, vs...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return values, form
}

// FuzzFill: whatever an address holds, it is a value of the filter and all of it.
func FuzzFill(f *testing.F) {
	for _, s := range []string{"ann", "*", "a)(uid=*", `a\2a`, "a\x00b", "{user}", "{domain}", "m\u00fcller", "\xff\xfe", ")(|(mail=*", "a*b(c)d\\e", ""} {
		f.Add(s, "example.com")
		f.Add("ann", s)
	}
	templates := []string{"", "(mail={address})", "(&(uid={user})(|(mail={address})(!(domain={domain}))(cn:dn:2.4.6:={user})))", "(mail=smtp:{address})"}
	f.Fuzz(func(t *testing.T, local, domain string) {
		for _, text := range templates {
			tpl, err := parseTemplate(text)
			if err != nil {
				t.Fatal(err)
			}
			address := local + "@" + domain
			values, form := compiledValues(t, tpl.fill(address, local, domain))
			plain, want := compiledValues(t, tpl.fill("A", "U", "D"))
			if form != want || len(values) != len(plain) {
				t.Fatalf("%q changes the filter: %s, want %s", address, form, want)
			}
			for i, p := range plain {
				w := strings.NewReplacer("A", address, "U", local, "D", domain).Replace(p)
				if values[i] != w {
					t.Fatalf("%q: value %d is %q, want %q", address, i, values[i], w)
				}
			}
		}
	})
}

// FuzzCheckFilter: a filter that is taken can be asked with, for one and for all.
func FuzzCheckFilter(f *testing.F) {
	for _, s := range []string{"", "(mail={address})", "(&(a=b)(c>=d)(e<=f)(g~=h)(i=*)(j=k*l*m))", "(cn:dn:1.2:=x)", "(!(x=y))", "((x=y))", "(x={user}*{domain})", "(&)", "(|)", "(a=\\2a)", "(a=\xff)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		tpl, err := parseTemplate(filter)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("an error of several lines: %q", err)
			}
			return
		}
		for _, ad := range []bool{false, true} {
			for _, q := range []string{tpl.question(address(t, "ann@example.com"), ad), tpl.anybody(ad)} {
				if _, err := ldap.CompileFilter(q); err != nil {
					t.Fatalf("%q was taken, and became %q: %v", filter, q, err)
				}
			}
		}
	})
}

// TestNoAddressChangesTheFilter compares the answers of a real server with a census of it, for
// addresses made of what means something in a filter.
func TestNoAddressChangesTheFilter(t *testing.T) {
	d := rig.NewSlapd(t, rig.SlapdOptions{})
	census := map[string]bool{}
	for i, a := range []string{"ann@example.com", "*@example.com", "a*@example.com", `"a)(uid=*"@example.com`, `"(ann)"@example.com`, `"a\\2a"@example.com`, "{user}@example.com", "|&!=@example.com"} {
		addr, err := mail.ParseAddress(a)
		if err != nil {
			t.Fatal(err)
		}
		census[addr.Key()] = true
		d.AddUser(fmt.Sprintf("user%d", i), "mail: "+addr.Key())
	}
	known := make([]string, 0, len(census))
	for a := range census {
		known = append(known, a)
	}
	slices.Sort(known)
	sources := []*Source{
		asking(t, d, nil),
		asking(t, d, func(c *Config) { c.Filter = "(mail={address})" }),
		asking(t, d, func(c *Config) { c.Filter = "(&(objectClass=inetOrgPerson)(!(!(mail={user}@{domain}))))" }),
	}
	piece := rapid.SampledFrom([]string{"*", "(", ")", `\\`, `\"`, "|", "&", "!", "=", "a", "ann", "mail", "uid=*", ")(uid=*)", "\u00e4", "\u4e2d", "{user}", "{address}", "2a", `\*`, "~", "<", ">", ":", ";", ","})
	asked := 0
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.OneOf(rapid.SampledFrom(known), rapid.Map(rapid.SliceOfN(piece, 1, 8), func(p []string) string {
			return `"` + strings.Join(p, "") + `"@example.com`
		})).Draw(r, "address")
		addr, err := mail.ParseAddress(text)
		if err != nil {
			r.Skip("no address")
		}
		want := evidence.Missing
		if census[addr.Key()] {
			want = evidence.Exists
		}
		for _, s := range sources {
			asked++
			if a := s.Lookup(t.Context(), addr); a.Standing != want {
				r.Errorf("%s: %v (%s), want %v", addr.Key(), a.Standing, a.Detail, want)
			}
		}
	})
	t.Logf("%d answers compared with the census", asked)
}

// TestRawOctets asks with what no address can hold, below the typed door: NUL and broken UTF-8.
func TestRawOctets(t *testing.T) {
	d := rig.NewSlapd(t, rig.SlapdOptions{})
	d.AddUser("ann", "mail: ann@example.com")
	s := asking(t, d, nil)
	c, err := s.connect(t.Context(), s.servers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, local := range []string{"\x00", "ann\x00", "\x00ann", "*", "a*", "*\x00*", ")(mail=*", "\xff", "ann\xc3", "*)(|(uid=*", "\\2a"} {
		found, err := c.find(t.Context(), d.Base, s.filter.fill(local+"@example.com", local, "example.com"))
		if found || err != nil {
			t.Errorf("%q: found %v, %v", local, found, err)
		}
	}
	if found, err := c.find(t.Context(), d.Base, s.filter.fill("ann@example.com", "ann", "example.com")); !found || err != nil {
		t.Errorf("ann: found %v, %v", found, err)
	}
}

func TestConfigs(t *testing.T) {
	server := parseURL(t, "ldap://dc1.example.com")
	for _, tt := range []struct {
		why    string
		change func(*Config)
	}{
		{"", func(*Config) {}},
		{"", func(c *Config) { c.BindDN, c.Password = "gate@example.com", "x" }},
		{"", func(c *Config) { c.Base, c.URLs = "", []*url.URL{parseURL(t, "ldaps://dc1.example.com:3269")} }},
		{"no LDAP server", func(c *Config) { c.URLs = nil }},
		{"a bind DN without a password", func(c *Config) { c.BindDN = "cn=gate" }},
		{"a password without a bind DN", func(c *Config) { c.Password = "x" }},
		{"no base", func(c *Config) { c.Base = "" }},
		{"not a DN", func(c *Config) { c.Base = "example.com" }},
		{"not one of RFC 4515", func(c *Config) { c.Filter = "mail" }},
		{"starttls is for ldap://", func(c *Config) { c.StartTLS, c.URLs = true, []*url.URL{parseURL(t, "ldaps://a.example.com")} }},
		{"starttls is for ldap://", func(c *Config) { c.StartTLS, c.URLs = true, []*url.URL{parseURL(t, "ldapi:///run/ldapi")} }},
	} {
		cfg := Config{Name: "corp", URLs: []*url.URL{server}, Base: "dc=example,dc=com"}
		tt.change(&cfg)
		s, err := New(cfg)
		if (err == nil) != (tt.why == "") || err != nil && !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%v, want %q", err, tt.why)
		}
		if err == nil {
			s.Close()
		}
	}
	for _, u := range []string{"", "ldap://", "http://a.example.com", "ldap://a.example.com/dc=example", "ldap://a.example.com?mail", "ldap://u:p@a.example.com", "ldapi://", "dc1.example.com"} {
		if err := checkURL(parseURL(t, u), false); err == nil {
			t.Errorf("%q was taken for a server", u)
		} else if strings.Contains(err.Error(), ":p@") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}

func TestWarnings(t *testing.T) {
	for u, warned := range map[string]bool{
		"ldap://dc1.example.com": true, "ldap://192.0.2.1:3268": true, "ldaps://dc1.example.com": false, "ldapi:///run/ldapi": false,
		"ldap://localhost": false, "ldap://127.0.0.1:389": false, "ldap://[::1]": false,
	} {
		for _, password := range []string{"", "hunter2"} {
			cfg := Config{Name: "corp", URLs: []*url.URL{parseURL(t, u)}, Base: "dc=example,dc=com", Password: password}
			if password != "" {
				cfg.BindDN = "cn=gate"
			}
			got := strings.Join(newSource(t, cfg).Warnings(), "|")
			if (got != "") != warned || warned && strings.Contains(got, "gets the password") != (password != "") || strings.Contains(got, "hunter2") {
				t.Errorf("%s: %q", u, got)
			}
			if cfg.StartTLS = true; cfg.URLs[0].Scheme == "ldap" && len(newSource(t, cfg).Warnings()) > 0 {
				t.Errorf("%s with StartTLS is warned of", u)
			}
		}
	}
}
