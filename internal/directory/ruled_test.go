package directory

import (
	"context"
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// book is a Ruled source.
type book map[string]Ruling

func (book) Name() string                                  { return "book" }
func (b book) Rule(key string) Ruling                      { return b[key] }
func (b book) Known(key string) evidence.Standing          { return b.Rule(key).Standing }
func (b book) Lookup(context.Context, mail.Address) Answer { panic("a source that rules is not asked") }

var (
	gone  = mail.MustReply(550, "5.1.6", "Moved")
	later = mail.MustReply(450, "4.2.0", "Not now")
)

// TestRulings walks a book alone, and with a list or a server behind it.
func TestRulings(t *testing.T) {
	b := book{
		"ann@example.com":      {Standing: evidence.Exists, Exact: true},
		"ann+gone@example.com": {Standing: evidence.Missing, Exact: true, Reply: gone},
		"bob@example.com":      {Standing: evidence.Missing, Exact: true, Reply: gone},
		"bob+any@example.com":  {Standing: evidence.Exists, Blind: true},
		"eve@example.com":      {Standing: evidence.Unavailable, Exact: true, Reply: later},
		"any@example.com":      {Standing: evidence.Exists, Blind: true, Detail: "RELAY"},
		"away@example.com":     {Standing: evidence.Unavailable},
		"none+x@example.com":   {Standing: evidence.Missing, Reply: gone},
		"none@example.com":     {Standing: evidence.Missing, Reply: gone},
		"ann+x@example.com":    {Standing: evidence.Missing, Reply: gone},
		"odd@example.com":      {Standing: evidence.LeftToDownstream, Exact: true},
	}
	behind := newFake("behind")
	behind.set("any@example.com", evidence.Missing)
	behind.set("eve@example.com", evidence.Exists)
	behind.set("away@example.com", evidence.Exists)
	behind.set("ann+gone@example.com", evidence.Exists)
	silent := newFake("silent")
	silent.other = Answer{Standing: evidence.NotAsked}
	down := newFake("down")
	down.other = Answer{Standing: evidence.Unavailable}
	for _, tt := range []struct {
		addr   string
		second Source
		want   evidence.Standing
		reply  mail.Reply
		blind  bool
	}{
		{"ann@example.com", nil, evidence.Exists, mail.Reply{}, false},
		{"ann+x@example.com", nil, evidence.Exists, mail.Reply{}, false}, // a line for ann goes before one for the domain
		{"ann+gone@example.com", nil, evidence.Missing, gone, false},     // and one for the very address before that
		{"ann+gone@example.com", behind, evidence.Missing, gone, false},  // whoever stands behind
		{"bob+any@example.com", nil, evidence.Missing, gone, false},      // the domain's yes gives way to bob's no
		{"none+x@example.com", nil, evidence.Missing, gone, false},
		{"eve@example.com", nil, evidence.Unavailable, later, false},
		{"eve@example.com", behind, evidence.Unavailable, later, false}, // the operator's word, not a source that is away
		{"away@example.com", behind, evidence.Exists, mail.Reply{}, false},
		{"any@example.com", nil, evidence.Exists, mail.Reply{}, true},
		{"any@example.com", behind, evidence.Missing, mail.Reply{}, false}, // who knows better has the word
		{"any@example.com", silent, evidence.Exists, mail.Reply{}, true},
		{"any@example.com", down, evidence.Unavailable, mail.Reply{}, false},
		{"other@example.com", nil, evidence.Missing, mail.Reply{}, false},
		{"odd@example.com", nil, evidence.Unavailable, mail.Reply{}, false}, // not a source's to say
	} {
		members := []Member{{Source: b}}
		if tt.second != nil {
			members = append(members, Member{Source: tt.second})
		}
		d := New(Config{})
		got := d.Lookup(t.Context(), NewChain("example.com", members...), Query{Address: address(t, tt.addr), Subaddress: "+"})
		if got.Standing != tt.want || got.Reply != tt.reply || got.Blind != tt.blind {
			t.Errorf("%s (behind: %v): %+v, want %v %q", tt.addr, tt.second, got, tt.want, tt.reply)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
