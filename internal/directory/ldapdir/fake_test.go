package ldapdir

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"backstop/internal/directory/health"
	"backstop/internal/evidence"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// The messages of a server that says what no server at hand can be brought to say.

func message(op *ber.Packet, controls ...ldap.Control) func(id int64) []byte {
	return func(id int64) []byte {
		m := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		m.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
		m.AppendChild(op)
		if len(controls) > 0 {
			cs := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
			for _, c := range controls {
				cs.AppendChild(c.Encode())
			}
			m.AppendChild(cs)
		}
		return m.Bytes()
	}
}

func text(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func application(tag ber.Tag, children ...*ber.Packet) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	for _, c := range children {
		p.AppendChild(c)
	}
	return p
}

type reply = func(id int64) []byte

func result(tag ber.Tag, code int64, said string, controls ...ldap.Control) reply {
	return message(application(tag, ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""), text(""), text(said)), controls...)
}

func done(code int64, controls ...ldap.Control) reply {
	return result(ldap.ApplicationSearchResultDone, code, "", controls...)
}

func reference(uri string) reply {
	return message(application(ldap.ApplicationSearchResultReference, text(uri)))
}

// entry is one entry; each line is "attribute: value value".
func entry(dn string, lines ...string) reply {
	all := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	for _, l := range lines {
		name, values, _ := strings.Cut(l, ": ")
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range strings.Fields(values) {
			set.AppendChild(text(v))
		}
		a := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		a.AppendChild(text(name))
		a.AppendChild(set)
		all.AppendChild(a)
	}
	return message(application(ldap.ApplicationSearchResultEntry, text(dn), all))
}

// asked is a search as the fake server sees it.
type asked struct {
	base, filter, attributes string
	paged                    bool
}

// fake is a server whose answers to searches come from answer; what it says of itself comes from
// root. nil from answer: it hangs.
type fake struct {
	binds  atomic.Int64
	root   []reply
	bind   reply
	answer func(asked) []reply
}

// controller is how a domain controller of Active Directory introduces itself.
func controller(usn int) []reply {
	return []reply{entry("", "supportedCapabilities: "+capabilityAD, "namingContexts: dc=example,dc=com", "dsServiceName: cn=dc1", fmt.Sprintf("highestCommittedUSN: %d", usn)), done(0)}
}

func (f *fake) serve(nc net.Conn) {
	for {
		p, err := ber.ReadPacket(nc)
		if err != nil {
			return
		}
		id, op := p.Children[0].Value.(int64), p.Children[1]
		replies := []reply{f.bind}
		if op.Tag == ldap.ApplicationBindRequest {
			f.binds.Add(1)
		}
		if op.Tag == ldap.ApplicationSearchRequest {
			replies = f.search(p, op)
		}
		for _, r := range replies {
			if r == nil {
				continue
			}
			if _, err := nc.Write(r(id)); err != nil {
				return
			}
		}
	}
}

func (f *fake) search(p, op *ber.Packet) []reply {
	a := asked{base: op.Children[0].Value.(string), paged: len(p.Children) > 2}
	a.filter, _ = ldap.DecompileFilter(op.Children[6])
	for _, c := range op.Children[7].Children {
		a.attributes += c.Value.(string) + " "
	}
	if a.base == "" {
		if f.root == nil {
			return []reply{done(0)}
		}
		return f.root
	}
	return f.answer(a)
}

func (f *fake) source(t *testing.T, change func(*Config)) *Source {
	t.Helper()
	cfg := Config{Name: "corp", URLs: []*url.URL{parseURL(t, "ldap://"+talking(t, f.serve))}, Base: "dc=example,dc=com"}
	if change != nil {
		change(&cfg)
	}
	return newSource(t, cfg)
}

// everybody says whether the question is whether there is anybody.
func (a asked) everybody() bool { return strings.Contains(a.filter, "(mail=*)") }

// TestResults: no result but success without an entry says that somebody is missing.
func TestResults(t *testing.T) {
	for code := range int64(91) {
		f := &fake{answer: func(a asked) []reply {
			if a.everybody() {
				return []reply{entry("cn=somebody"), done(4)}
			}
			return []reply{done(code)}
		}}
		s := f.source(t, nil)
		a := s.Lookup(t.Context(), address(t, "ann@example.com"))
		want := evidence.Unavailable
		if code == 0 {
			want = evidence.Missing
		}
		if a.Standing != want || a.Standing == evidence.Unavailable && a.Detail == "" {
			t.Errorf("result %d: %v (%s)", code, a.Standing, a.Detail)
		}
		up := slices.Contains([]int64{0, 2, 3, 4, 11, 17, 18, 21, 53, 80}, code)
		if got := s.State().Condition != health.Down; got != up {
			t.Errorf("result %d: the server is well: %v", code, got)
		}
	}
	for code := range int64(91) {
		f := &fake{answer: func(asked) []reply { return []reply{entry("cn=ann"), done(code)} }}
		if a := f.source(t, nil).Lookup(t.Context(), address(t, "ann@example.com")); a.Standing != evidence.Exists {
			t.Errorf("somebody, and then result %d: %v (%s)", code, a.Standing, a.Detail)
		}
	}
}

// TestEveryQuestionIsRefused: one that the server does not answer says nothing of the server, and many
// in a row say that the operator has to look.
func TestEveryQuestionIsRefused(t *testing.T) {
	for _, code := range []int64{3, 11, 53, 80} {
		var log bytes.Buffer
		f := &fake{answer: func(asked) []reply { return []reply{done(code)} }}
		s := f.source(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		for range 30 {
			says(t, s, "ann@example.com", evidence.Unavailable, fmt.Sprintf("(%d)", code))
		}
		if st := s.State(); st.Condition == health.Down || !strings.Contains(st.LastError, fmt.Sprintf("(%d)", code)) {
			t.Errorf("result %d: %+v", code, st)
		}
		if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "the filter") || !strings.Contains(log.String(), "source=corp") {
			t.Errorf("result %d:\n%s", code, log.String())
		}
	}
}

// TestNoTimeLeft: that whoever asks runs out of time is the server's fault.
func TestNoTimeLeft(t *testing.T) {
	f := &fake{answer: func(asked) []reply { return nil }}
	s := f.source(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if a := s.Lookup(ctx, address(t, "ann@example.com")); a.Standing != evidence.Unavailable || !strings.Contains(a.Detail, "no answer in time") {
		t.Errorf("%+v", a)
	}
	if st := s.State(); st.Condition != health.Down {
		t.Errorf("%+v", st)
	}
}

// TestLimitsProveNothing: a server that reached a limit before it found anybody has not shown that there is
// somebody. One that found somebody, and then reached it, has.
func TestLimitsProveNothing(t *testing.T) {
	for code, limit := range map[int64]string{3: "Time Limit", 4: "Size Limit", 11: "Admin Limit"} {
		for want, anybody := range map[evidence.Standing][]reply{
			evidence.Unavailable: {done(code)},
			evidence.Missing:     {entry("cn=somebody"), done(code)},
		} {
			f := &fake{answer: func(a asked) []reply {
				if a.everybody() {
					return anybody
				}
				return []reply{done(0)}
			}}
			says(t, f.source(t, nil), "ann@example.com", want, map[bool]string{true: limit}[want == evidence.Unavailable])
		}
	}
}

func TestReferences(t *testing.T) {
	for _, tt := range []struct {
		root []reply
		to   string
		want evidence.Standing
	}{
		{controller(1), "ldap://DomainDnsZones.example.com/DC=DomainDnsZones,DC=example,DC=com", evidence.Missing},
		{controller(1), "ldap://example.com/CN=Configuration,DC=example,DC=com", evidence.Missing},
		{controller(1), "ldap://sub.example.com/DC=sub,DC=example,DC=com", evidence.Unavailable},
		{nil, "ldap://example.com/CN=Configuration,DC=example,DC=com", evidence.Unavailable},
	} {
		f := &fake{root: tt.root, answer: func(a asked) []reply {
			if a.everybody() {
				return []reply{entry("cn=somebody"), reference(tt.to), done(0)}
			}
			return []reply{reference(tt.to), done(0)}
		}}
		says(t, f.source(t, nil), "ann@example.com", tt.want, map[bool]string{true: "refers to", false: ""}[tt.want == evidence.Unavailable])
	}
}

// TestRightsThatGo: a server that has shown somebody may show nobody some day.
func TestRightsThatGo(t *testing.T) {
	now := time.Unix(1_000_000_000, 0)
	blind := false
	f := &fake{answer: func(a asked) []reply {
		if a.everybody() && !blind {
			return []reply{entry("cn=somebody"), done(4)}
		}
		return []reply{done(0)}
	}}
	s := f.source(t, func(c *Config) { c.Now = func() time.Time { return now } })
	says(t, s, "ann@example.com", evidence.Missing, "")
	blind = true
	now = now.Add(provenFor)
	says(t, s, "ann@example.com", evidence.Unavailable, "what the bind DN may read")
}

func TestWhyAPasswordIsRefused(t *testing.T) {
	f := &fake{bind: result(ldap.ApplicationBindResponse, 49, "80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data 775, v3839\x00")}
	s := f.source(t, func(c *Config) { c.BindDN, c.Password = "gate@example.com", "secret" })
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { says(t, s, "ann@example.com", evidence.Unavailable, "the account is locked") })
	}
	all.Wait()
	var copy kept
	if err := copy.pull(t.Context(), s); err == nil || !strings.Contains(err.Error(), "the account is locked") {
		t.Errorf("pull: %v", err)
	}
	if n := f.binds.Load(); n != 1 {
		t.Errorf("the password was tried %d times", n)
	}
}
