package ldapdir

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"backstop/internal/directory"
	"backstop/internal/directory/health"

	"github.com/go-ldap/ldap/v3"
)

func TestRanges(t *testing.T) {
	pages := 0
	f := &fake{root: controller(7), answer: func(a asked) []reply {
		switch {
		case a.base == "cn=dc1":
			return []reply{done(50)}
		case strings.Contains(a.attributes, "range=2-*"):
			return []reply{entry(a.base, "proxyAddresses;range=2-3: SMTP:c@example.com x500:/o=example"), done(0)}
		case strings.Contains(a.attributes, "range=4-*"):
			return []reply{entry(a.base, "proxyAddresses;Range=4-*: smtp:d@example.com"), done(0)}
		}
		pages++
		if pages == 1 {
			return []reply{entry("cn=ann", "objectGUID: 0123456789abcdef", "proxyAddresses: ", "proxyAddresses;range=0-1: smtp:a@example.com Smtp:b@example.com", "mail: m@example.com"),
				done(0, &ldap.ControlPaging{Cookie: []byte("more")})}
		}
		return []reply{entry("cn=bob", "objectGUID: 0123456789abcdeg", "mail: bob@example.com"), done(0, &ldap.ControlPaging{})}
	}}
	var copy kept
	copy.mustPull(t, f.source(t, nil))
	if got := fmt.Sprint(copy.addresses()); got != "[a@example.com b@example.com bob@example.com c@example.com d@example.com m@example.com]" {
		t.Errorf("%s", got)
	}
}

// TestCursors: changes are told from where the last pull ended, and from nowhere else.
func TestCursors(t *testing.T) {
	now := time.Unix(1_000_000_000, 0)
	last, invocation := 7, "one"
	f := &fake{}
	f.answer = func(a asked) []reply {
		switch {
		case a.base == "cn=dc1":
			return []reply{entry(a.base, "invocationId: "+invocation), done(0)}
		case strings.Contains(a.base, "Deleted Objects"):
			return []reply{entry("cn=somebody"), done(4)}
		case strings.Contains(a.filter, "uSNChanged>=") && !strings.Contains(a.filter, "uSNChanged>=8"):
			t.Errorf("asked with %s", a.filter)
		}
		return []reply{entry("cn=ann", "objectGUID: 0123456789abcdef", "mail: ann@example.com"), done(0)}
	}
	f.root = controller(last)
	peer := talking(t, f.serve)
	source := func(change func(*Config)) *Source {
		cfg := Config{Name: "corp", URLs: []*url.URL{parseURL(t, "ldap://"+peer)}, Base: "dc=example,dc=com", Now: func() time.Time { return now }}
		if change != nil {
			change(&cfg)
		}
		return newSource(t, cfg)
	}
	var first kept
	first.mustPull(t, source(nil))
	for _, tt := range []struct {
		why    string
		after  time.Duration
		usn    int
		dbase  string
		change func(*Config)
	}{
		{"", time.Hour, 7, "one", nil},
		{"", 29 * 24 * time.Hour, 9, "one", nil},
		{"may have forgotten", 31 * 24 * time.Hour, 9, "one", nil},
		{"has gone back to change 6 from 7", time.Hour, 6, "one", nil},
		{"each counts changes by itself", time.Hour, 9, "two", nil},
		{"are other ones now", time.Hour, 9, "one", func(c *Config) { c.Filter = "(a=b)" }},
		{"are other ones now", time.Hour, 9, "one", func(c *Config) { c.Base = "ou=a,dc=example,dc=com" }},
		{"are other ones now", time.Hour, 9, "one", func(c *Config) { c.Attributes = []string{"mail"} }},
	} {
		began := now
		now, f.root, invocation = began.Add(tt.after), controller(tt.usn), tt.dbase
		k := first
		err := k.pull(t.Context(), source(tt.change))
		if (err == nil) != (tt.why == "") || err != nil && (!errors.Is(err, directory.ErrStartOver) || !strings.Contains(err.Error(), tt.why)) {
			t.Errorf("%v, want %q", err, tt.why)
		}
		now = began
	}
	for _, cursor := range []string{"", "{", "{}", "[]", "null", `{"usn":"x"}`} {
		k := first
		if k.cursor = []byte(cursor); !errors.Is(k.pull(t.Context(), source(nil)), directory.ErrStartOver) {
			t.Errorf("the cursor %q was taken", cursor)
		}
	}
}

// TestLosesTheLastAddress: who is still meant by the filter and has no address any more is no recipient.
func TestLosesTheLastAddress(t *testing.T) {
	for _, left := range []string{"", "x400:c=de"} {
		anns := ""
		f := &fake{answer: func(a asked) []reply {
			switch {
			case strings.Contains(a.base, "Deleted Objects"):
				return []reply{entry("cn=somebody"), done(4)}
			case strings.Contains(a.filter, "entryUUID=") && left == "":
				t.Errorf("read again: %s", a.filter)
			case !strings.Contains(a.attributes, "mail") && strings.HasSuffix(a.filter, "(|(mail=*)))") && anns == "":
				return []reply{entry("cn=bob", "entryUUID: 2", "objectGUID: 2"), done(0)}
			case !strings.Contains(a.attributes, "mail"): // who is there, and who has changed in any way
				return []reply{entry("cn=bob", "entryUUID: 2", "objectGUID: 2"), entry("cn=ann", "entryUUID: 1", "objectGUID: 1"), done(0)}
			}
			return []reply{entry("cn=bob", "entryUUID: 2", "objectGUID: 2", "mail: bob@example.com", "modifyTimestamp: 20260101000000Z"),
				entry("cn=ann", "entryUUID: 1", "objectGUID: 1", "mail: "+anns, "modifyTimestamp: 20260101000000Z"), done(0)}
		}}
		for _, f.root = range [][]reply{nil, controller(7)} {
			anns = "ann@example.com"
			s := f.source(t, func(c *Config) { c.Attributes = []string{"mail"} })
			var copy kept
			copy.mustPull(t, s)
			anns = left
			copy.mustPull(t, s)
			if got := copy.addresses(); !slices.Equal(got, []string{"bob@example.com"}) || copy.fulls != 1 {
				t.Errorf("after %d full pulls: %v", copy.fulls, got)
			}
		}
	}
}

// TestHalfAPull: whatever ends a pull before its end fails it.
func TestHalfAPull(t *testing.T) {
	ann := entry("cn=ann", "entryUUID: 1", "mail: ann@example.com", "modifyTimestamp: 20260101000000Z")
	more := done(0, &ldap.ControlPaging{Cookie: []byte("more")})
	count := 0
	for _, tt := range []struct {
		name, why string
		answer    func(asked) []reply
	}{
		{"stalls at once", "no answer in time", func(asked) []reply { return nil }},
		{"stalls in a page", "no answer in time", func(asked) []reply { return []reply{ann, ann} }},
		{"stalls at the second page", "no answer in time", func(asked) []reply {
			if count++; count > 1 {
				return nil
			}
			return []reply{ann, more}
		}},
		{"a limit", "raise its limit", func(asked) []reply { return []reply{ann, done(4)} }},
		{"unwilling", "Unwilling", func(asked) []reply { return []reply{ann, done(53)} }},
		{"a reference", "refers to", func(asked) []reply { return []reply{ann, reference("ldap://ldap.example.org/dc=x"), done(0)} }},
		{"nobody", "there is nobody", func(asked) []reply { return []reply{done(0)} }},
		{"somebody without an address", "1 entries match, and none has an address", func(asked) []reply { return []reply{entry("cn=ann"), done(0)} }},
		{"empty pages without end", "pages in a row", func(asked) []reply { return []reply{more} }},
		{"the same page without end", "the same page again", func(asked) []reply { return []reply{ann, more} }},
		{"pages in a circle", "the same page again", func(asked) []reply {
			count++
			return []reply{entry(fmt.Sprintf("cn=user%d", count%5), "mail: user@example.com"), done(0, &ldap.ControlPaging{Cookie: fmt.Append(nil, count)})}
		}},
		{"a range that is none", "which is no range", func(asked) []reply { return []reply{entry("cn=ann", "mail;range=0-x: a@example.com"), done(0)} }},
		{"the same range for ever", "the same part", func(a asked) []reply {
			return []reply{entry("cn=ann", "mail;range=0-1: a@example.com b@example.com"), done(0)}
		}},
	} {
		f := &fake{answer: tt.answer}
		s := f.source(t, func(c *Config) {
			if strings.HasPrefix(tt.name, "stalls") {
				c.Timeout = 300 * time.Millisecond
			}
		})
		var copy kept
		if err := copy.pull(t.Context(), s); err == nil || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.why)
		}
		if st := s.State(); st.Condition != health.Down {
			t.Errorf("%s: %+v", tt.name, st)
		}
	}
}

// TestNoPages: a server that does not know pages gives everybody at once, and that is whole.
func TestNoPages(t *testing.T) {
	f := &fake{answer: func(asked) []reply {
		return []reply{entry("cn=ann", "mail: ann@example.com"), entry("cn=bob", "mail: bob@example.com"), done(0)}
	}}
	var copy kept
	copy.mustPull(t, f.source(t, nil))
	if len(copy.addresses()) != 2 {
		t.Errorf("%v", copy.addresses())
	}
}

// TestOneCookie: a server may give the same cookie with every page, as 389 Directory Server does.
func TestOneCookie(t *testing.T) {
	page := 0
	f := &fake{answer: func(asked) []reply {
		page++
		last := done(0, &ldap.ControlPaging{Cookie: []byte("same")})
		if page == 300 {
			last = done(0)
		}
		return []reply{entry(fmt.Sprintf("cn=user%d", page), fmt.Sprintf("mail: user%d@example.com", page)), last}
	}}
	var copy kept
	copy.mustPull(t, f.source(t, nil))
	if n := len(copy.addresses()); n != 300 {
		t.Errorf("%d", n)
	}
}

func TestAddressesIn(t *testing.T) {
	for _, tt := range []struct{ attribute, value, want string }{
		{"mail", "ann@example.com", "ann@example.com"},
		{"mail", " ann@example.com ", "ann@example.com"},
		{"mail", "", ""},
		{"mail", `"a:b"@example.com`, `"a:b"@example.com`},
		{"otherMailbox", "smtp:ann@example.com", "ann@example.com"},
		{"otherMailbox", "X400:c=de;a= ;p=example", ""},
		{"proxyAddresses", "SMTP:ann@example.com", "ann@example.com"},
		{"proxyaddresses", "smtp: ann@example.com", "ann@example.com"},
		{"proxyAddresses", "ann@example.com", ""},
		{"proxyAddresses", "x500:/o=example/cn=ann", ""},
		{"proxyAddresses", "sip:ann@example.com", ""},
		{"proxyAddresses", "eum:1234;phone-context=x", ""},
		{"proxyAddresses", "smtp:", ""},
	} {
		if got := strings.Join(addressesIn(nil, tt.attribute, []string{tt.value}), "|"); got != tt.want {
			t.Errorf("%s: %q is %q, want %q", tt.attribute, tt.value, got, tt.want)
		}
	}
}
