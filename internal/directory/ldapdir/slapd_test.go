package ldapdir

import (
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mailtest/rig"
)

// follows checks that the source says at once, and a copy at the next pull of changes, what is so.
func follows(t *testing.T, live *Source, copy *kept, step string, there, gone []string) {
	t.Helper()
	for _, a := range there {
		says(t, live, a, evidence.Exists, "")
	}
	for _, a := range gone {
		says(t, live, a, evidence.Missing, "")
	}
	copy.mustPull(t, live)
	all := copy.addresses()
	for _, a := range there {
		if !slices.Contains(all, a) {
			t.Errorf("%s: the copy lacks %s", step, a)
		}
	}
	for _, a := range gone {
		if slices.Contains(all, a) {
			t.Errorf("%s: the copy still has %s", step, a)
		}
	}
	var full kept
	full.mustPull(t, live)
	if !slices.Equal(full.addresses(), all) {
		t.Errorf("%s: after changes the copy has\n%v\na full pull has\n%v", step, all, full.addresses())
	}
	if copy.fulls != 1 {
		t.Errorf("%s: %d full pulls", step, copy.fulls)
	}
}

func TestALifeInOpenLDAP(t *testing.T) {
	d := rig.NewSlapd(t, rig.SlapdOptions{})
	live := asking(t, d, func(c *Config) { c.Filter = "(!(accountStatus=disabled))" })
	var copy kept
	d.AddUser("zoe", "mail: zoe@example.com")
	copy.mustPull(t, live)

	ann := d.AddUser("ann", "mail: Ann@Example.com")
	follows(t, live, &copy, "added", []string{"ann@example.com"}, []string{"ann.lee@example.com", "nobody@example.com"})

	d.Modify(ann, "add: proxyAddresses", "proxyAddresses: smtp:ann.lee@example.com", "proxyAddresses: sip:ann.sip@example.com", "-")
	follows(t, live, &copy, "a second address", []string{"ann@example.com", "ann.lee@example.com"}, []string{"ann.sip@example.com"})

	d.Modify(ann, "add: objectClass", "objectClass: inetLocalMailRecipient", "-", "add: mailLocalAddress", "mailLocalAddress: al@example.com", "-")
	follows(t, live, &copy, "a third one", []string{"ann@example.com", "ann.lee@example.com", "al@example.com"}, nil)

	d.Rename(ann, "uid=anna")
	ann = "uid=anna," + d.Base
	d.Modify(ann, "replace: mail", "mail: anna@example.com", "-")
	follows(t, live, &copy, "renamed", []string{"anna@example.com", "ann.lee@example.com"}, []string{"ann@example.com"})

	d.Modify(ann, "add: accountStatus", "accountStatus: disabled", "-")
	follows(t, live, &copy, "disabled", nil, []string{"anna@example.com", "ann.lee@example.com"})

	d.Modify(ann, "delete: accountStatus", "-")
	follows(t, live, &copy, "enabled again", []string{"anna@example.com", "ann.lee@example.com"}, nil)

	d.Add("cn=team,"+d.Base, "objectClass: groupOfNames", "objectClass: testMailbox", "cn: team", "member: "+ann, "mail: team@example.com")
	follows(t, live, &copy, "a group", []string{"team@example.com", "anna@example.com"}, nil)

	d.Delete(ann)
	follows(t, live, &copy, "deleted", []string{"team@example.com"}, []string{"anna@example.com", "ann.lee@example.com"})
}

// TestMembers: whoever joins or leaves a group is not stamped by it.
func TestMembers(t *testing.T) {
	d := rig.NewSlapd(t, rig.SlapdOptions{Database: "overlay memberof\n"})
	live := asking(t, d, func(c *Config) { c.Filter = "(memberOf=cn=mail," + d.Base + ")" })
	zoe := d.AddUser("zoe", "mail: zoe@example.com")
	ann := d.AddUser("ann", "mail: ann@example.com")
	d.Add("cn=mail,"+d.Base, "objectClass: groupOfNames", "cn: mail", "member: "+zoe)
	var copy kept
	copy.mustPull(t, live)
	follows(t, live, &copy, "not yet", []string{"zoe@example.com"}, []string{"ann@example.com"})
	d.Modify("cn=mail,"+d.Base, "add: member", "member: "+ann, "-")
	follows(t, live, &copy, "joined", []string{"zoe@example.com", "ann@example.com"}, nil)
	d.Modify("cn=mail,"+d.Base, "delete: member", "member: "+zoe, "-")
	follows(t, live, &copy, "left", []string{"ann@example.com"}, []string{"zoe@example.com"})
}

// TestOldEntries: who was stamped long ago is named and not read again.
func TestOldEntries(t *testing.T) {
	d := rig.NewSlapd(t, rig.SlapdOptions{})
	s := asking(t, d, nil)
	d.AddUser("ann", "mail: ann@example.com")
	d.AddUser("bob", "mail: bob@example.com")
	var copy kept
	copy.mustPull(t, s)
	// As if an hour had gone by since: the stamps of both are older than the cursor then.
	copy.cursor = []byte(strings.Replace(string(copy.cursor), `"time":"20`, `"time":"21`, 1))
	copy.mustPull(t, s)
	if copy.last.takes != 0 || copy.last.stills != 2 || len(copy.addresses()) != 2 {
		t.Errorf("%d read, %d named; %v", copy.last.takes, copy.last.stills, copy.addresses())
	}
	d.AddUser("carl", "mail: carl@example.com")
	copy.mustPull(t, s)
	if copy.last.takes != 1 || copy.last.stills != 2 || len(copy.addresses()) != 3 {
		t.Errorf("with a new one: %d read, %d named; %v", copy.last.takes, copy.last.stills, copy.addresses())
	}
}

func TestPagesAndACrash(t *testing.T) {
	const people = 3000
	d := rig.NewSlapd(t, rig.SlapdOptions{})
	d.AddUsers(people, "example.com")
	s := asking(t, d, func(c *Config) { c.PageSize = 100 })
	var copy kept
	copy.mustPull(t, s)
	if n := len(copy.addresses()); n != people {
		t.Fatalf("%d addresses of %d", n, people)
	}
	for _, from := range []string{"full", "changes"} {
		h := holding{known: map[string][]string{}, named: map[string]bool{}}
		h.took = func() error {
			if h.takes == people/3 {
				d.Kill()
			}
			return nil
		}
		var done directory.Pulled
		var err error
		if from == "full" {
			done, err = s.Full(t.Context(), &h)
		} else {
			done, err = s.Changes(t.Context(), copy.cursor, &h)
		}
		if err == nil || done.Cursor != nil || done.Listed || !strings.Contains(err.Error(), d.URL()) {
			t.Errorf("%s, killed in the middle: %+v, %v", from, done, err)
		}
		if h.takes >= people {
			t.Errorf("%s: %d were taken, so it was not in the middle", from, h.takes)
		}
		d.Start()
	}
	d.Delete("uid=user7," + d.Base)
	copy.mustPull(t, s)
	if n := len(copy.addresses()); n != people-1 {
		t.Errorf("after the crash %d addresses of %d", n, people-1)
	}
}

func TestACrashBetweenQuestions(t *testing.T) {
	d := rig.NewSlapd(t, rig.SlapdOptions{})
	d.AddUser("ann", "mail: ann@example.com")
	s := asking(t, d, nil)
	says(t, s, "ann@example.com", evidence.Exists, "")
	d.Kill()
	d.Start()
	says(t, s, "ann@example.com", evidence.Exists, "") // over a new connection, and nobody notices
	says(t, s, "bob@example.com", evidence.Missing, "")
	d.Stop()
	says(t, s, "ann@example.com", evidence.Unavailable, "connection refused")
	says(t, s, "bob@example.com", evidence.Unavailable, "connection refused")
}

// TestACrashUnderQuestions: whoever asks while the server dies and comes back hears the truth, or
// that it cannot be told.
func TestACrashUnderQuestions(t *testing.T) {
	d := rig.NewSlapd(t, rig.SlapdOptions{})
	d.AddUser("ann", "mail: ann@example.com")
	var hours atomic.Int64 // each look at the clock is an hour later, so no pause lasts
	s := asking(t, d, func(c *Config) {
		c.Now = func() time.Time { return time.Unix(1_000_000_000+3600*hours.Add(1), 0) }
	})
	var heard [3]atomic.Int64 // truths, silences about ann, about bob
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for i, want := range []evidence.Standing{evidence.Exists, evidence.Missing} {
					switch a := s.Lookup(t.Context(), address(t, []string{"ann@example.com", "bob@example.com"}[i])); a.Standing {
					case want:
						heard[0].Add(1)
					case evidence.Unavailable:
						heard[1+i].Add(1)
					default:
						t.Errorf("%v: %+v", want, a)
					}
				}
			}
		})
	}
	waitFor := func(n *atomic.Int64) {
		for was := n.Load(); n.Load() < was+20; {
			runtime.Gosched()
		}
	}
	for range 3 {
		waitFor(&heard[0])
		d.Kill()
		waitFor(&heard[1])
		waitFor(&heard[2])
		d.Start()
	}
	waitFor(&heard[0])
	close(stop)
	all.Wait()
	t.Logf("%d truths, %d and %d silences", heard[0].Load(), heard[1].Load(), heard[2].Load())
}

func TestFailOver(t *testing.T) {
	one, two := rig.NewSlapd(t, rig.SlapdOptions{}), rig.NewSlapd(t, rig.SlapdOptions{})
	one.AddUser("ann", "mail: ann@example.com")
	one.AddUser("only", "mail: only@example.com")
	two.AddUser("ann", "mail: ann@example.com")
	s := asking(t, one, func(c *Config) { c.URLs = append(c.URLs, parseURL(t, two.URL())) })
	says(t, s, "only@example.com", evidence.Exists, "")
	var copy kept
	copy.mustPull(t, s)
	one.Kill()
	says(t, s, "ann@example.com", evidence.Exists, "")
	says(t, s, "only@example.com", evidence.Missing, "")
	if order := s.order(); order[0].name != two.URL() {
		t.Errorf("the dead one is asked first: %s", order[0].name)
	}
	if err := copy.pull(t.Context(), s); !errors.Is(err, directory.ErrStartOver) {
		t.Errorf("changes from another server: %v", err)
	}
	two.Kill()
	says(t, s, "ann@example.com", evidence.Unavailable, one.URL())
	one.Start()
	if err := copy.pull(t.Context(), s); err != nil {
		t.Errorf("the server of the last pull is back: %v", err)
	}
}

func TestLimits(t *testing.T) {
	d := rig.NewSlapd(t, rig.SlapdOptions{Database: "limits dn.exact=\"uid=gate,dc=example,dc=com\" size=5 size.prtotal=5\naccess to * by * read\n"})
	d.AddUsers(20, "example.com")
	gate := d.AddUser("gate", "userPassword: open sesame")
	s := asking(t, d, func(c *Config) { c.BindDN, c.Password, c.PageSize = gate, "open sesame", 3 })
	says(t, s, "user7@example.com", evidence.Exists, "")
	says(t, s, "user70@example.com", evidence.Missing, "")
	var copy kept
	if err := copy.pull(t.Context(), s); err == nil || !strings.Contains(err.Error(), "raise its limit") {
		t.Errorf("a pull that is cut off: %v", err)
	}
}

func TestReferrals(t *testing.T) {
	d := rig.NewSlapd(t, rig.SlapdOptions{})
	d.AddUser("ann", "mail: ann@example.com")
	d.Add("ou=elsewhere,"+d.Base, "objectClass: referral", "objectClass: extensibleObject", "ou: elsewhere", "ref: ldap://ldap.example.org/ou=elsewhere,dc=example,dc=com")
	s := asking(t, d, nil)
	says(t, s, "ann@example.com", evidence.Exists, "")
	says(t, s, "bob@example.com", evidence.Unavailable, "refers to ldap://ldap.example.org")
	s = asking(t, d, nil)
	var copy kept
	if err := copy.pull(t.Context(), s); err == nil || !strings.Contains(err.Error(), "refers to") {
		t.Errorf("a pull of a part: %v", err)
	}
}

func TestEveryWayIn(t *testing.T) {
	d := rig.NewSlapd(t, rig.SlapdOptions{})
	d.AddUser("ann", "mail: ann@example.com")
	for _, tt := range []struct {
		name   string
		change func(*Config)
	}{
		{"clear", nil},
		{"StartTLS", func(c *Config) { c.StartTLS = true }},
		{"ldaps", func(c *Config) { c.URLs = []*url.URL{parseURL(t, d.TLSURL())} }},
		{"ldapi", func(c *Config) { c.URLs = []*url.URL{parseURL(t, "ldapi://"+d.Socket())} }},
		{"anonymous", func(c *Config) { c.BindDN, c.Password = "", "" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := asking(t, d, tt.change)
			says(t, s, "ann@example.com", evidence.Exists, "")
			says(t, s, "bob@example.com", evidence.Missing, "")
			var copy kept
			copy.mustPull(t, s)
			copy.mustPull(t, s)
			if got := fmt.Sprint(copy.addresses()); got != "[ann@example.com]" {
				t.Errorf("pulled %s", got)
			}
		})
	}
}
