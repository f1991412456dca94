package daemon

import (
	"net/url"
	"strings"
	"testing"

	"backstop/internal/config"
	"backstop/internal/route"
)

// TestIdentity: what makes a copy another, and what does not.
func TestIdentity(t *testing.T) {
	sql := func(address string) string {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		return identity(&config.Source{Kind: config.SourceSQL, SQL: &config.SQL{URL: u, Query: "SELECT email FROM users"}}, nil)
	}
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"postgres://ro@db/panel?search_path=a", "postgres://ro@db/panel?search_path=b", false},
		{"postgres:///?host=db1&dbname=a", "postgres:///?host=db2&dbname=b", false},
		{"mysql://ro@/mail?socket=/run/a.sock", "mysql://ro@/mail?socket=/run/b.sock", false},
		{"postgres://ro@db/panel", "mysql://ro@db/panel", false},
		{"postgres://ro@db/panel", "postgres://ro@db/other", false},
		{"postgres://ro@db/panel?sslmode=disable&x=1", "postgres://rw:s3cret@db/panel?x=1&sslmode=disable", true},
		{"postgres:///?host=db1&user=ro&password=s3cret&sslpassword=s3cret", "postgres:///?host=db1&user=rw", true},
	} {
		a, b := sql(tt.a), sql(tt.b)
		if (a == b) != tt.same {
			t.Errorf("%s and %s: the same: %v", tt.a, tt.b, a == b)
		}
		if strings.Contains(a+b, "s3cret") {
			t.Errorf("a password is in %s or %s", a, b)
		}
	}
	ldap := func(filter string, as aliases, servers ...string) string {
		src := &config.Source{Kind: config.SourceLDAP, LDAP: &config.LDAP{Base: "dc=example", Filter: filter}}
		for _, s := range servers {
			src.LDAP.URLs = append(src.LDAP.URLs, &url.URL{Scheme: "ldaps", Host: s})
		}
		return identity(src, as)
	}
	was := ldap("(mail={address})", nil, "dc1", "dc2")
	if was != ldap("(mail={address})", nil, "dc2", "dc3", "dc1") {
		t.Error("other servers of one directory make the copy another")
	}
	if was == ldap("(email={address})", nil, "dc1", "dc2") || was == ldap("(mail={address})", aliases{"a.example": "example.com"}, "dc1", "dc2") {
		t.Error("another filter or alias leaves the copy the same")
	}
}

// TestAliasesOf: only domains that use the source count.
func TestAliasesOf(t *testing.T) {
	uses := []config.Source{{Name: "people"}}
	cfg := &config.Config{Domains: []config.Domain{
		{Domain: route.Domain{Name: "example.com", Aliases: []string{"example.net"}}, Sources: uses},
		{Domain: route.Domain{Name: "other.example", Aliases: []string{"unrelated.example"}}},
	}}
	as := aliasesOf(cfg, "people")
	if len(as) != 1 || as.canonical("example.net") != "example.com" || as.canonical("unrelated.example") != "unrelated.example" {
		t.Errorf("%v", as)
	}
}
