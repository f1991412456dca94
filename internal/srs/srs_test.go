package srs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"backstop/internal/mail"

	"pgregory.net/rapid"
)

// onDay is noon of a day, counted from 1970.
func onDay(day int) time.Time { return time.Unix(int64(day)*86400+43200, 0) }

func addr(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return a
}

func rewriter(t testing.TB, o Options) *Rewriter {
	t.Helper()
	if o.Domain == "" {
		o.Domain = "fwd.example"
	}
	if o.Secrets == nil {
		o.Secrets = [][]byte{[]byte("secret")}
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNew(t *testing.T) {
	secrets := [][]byte{[]byte("x")}
	for want, o := range map[string]Options{
		"need a secret":     {},
		"is empty":          {Secrets: [][]byte{[]byte("x"), nil}},
		"separator":         {Secrets: secrets, Separator: '_'},
		"4 to 26 digits":    {Secrets: secrets, Digits: 27},
		"no fewer than are": {Secrets: secrets, Digits: 4, MinDigits: 5},
		"not 3 and 3":       {Secrets: secrets, Digits: 3},
		"not a domain name": {Secrets: secrets, Domain: "a b"},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
}

func TestSecrets(t *testing.T) {
	got := fmt.Sprintf("%q", Secrets([]byte("first\r\n\n  with space \nlast")))
	if want := `["first" "  with space " "last"]`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestForward(t *testing.T) {
	r := rewriter(t, Options{})
	now := onDay(20779)
	for in, want := range map[string]struct {
		prefix, suffix string
		f              Forwarding
	}{
		"ann@example.org":                         {"SRS0=", "=JL=example.org=ann@fwd.example", Forwarded},
		"Ann@Example.ORG":                         {"SRS0=", "=JL=example.org=Ann@fwd.example", Forwarded},
		`"a b"@example.org`:                       {`"SRS0=`, `=JL=example.org=a b"@fwd.example`, Forwarded},
		"SRS0=abcd=XY=a.example=ann@one.example":  {"SRS1=", "=one.example==abcd=XY=a.example=ann@fwd.example", Forwarded},
		"SRS0+abcd=XY=a.example=ann@one.example":  {"SRS1=", "=one.example=+abcd=XY=a.example=ann@fwd.example", Forwarded},
		"SRS1=abcd=one.ex==abcd=XY=a.ex=b@two.ex": {"SRS1=", "=one.ex==abcd=XY=a.ex=b@fwd.example", Forwarded},
		"SRS1=abcd=one.ex@two.ex":                 {"SRS1=abcd=one.ex@two.ex", "", Broken},
		"SRS1=abcd==x@two.ex":                     {"SRS1=abcd==x@two.ex", "", Broken},
		"ann@fwd.example":                         {"ann@fwd.example", "", Own},
		"ann@FWD.example.":                        {"ann@FWD.example.", "", Own},
		"ann":                                     {"ann", "", NoDomain},
		strings.Repeat("l", 39) + "@example.org":  {"SRS0=", "", Forwarded},
		strings.Repeat("l", 40) + "@example.org":  {"l", "", TooLong},
	} {
		got, f := r.Forward(addr(t, in), now)
		if f != want.f || !strings.HasPrefix(got.String(), want.prefix) || !strings.HasSuffix(got.String(), want.suffix) || (f == Forwarded) != (got.String() != in) {
			t.Errorf("%s: %s (%v), want %+v", in, got, f, want)
		}
	}
	if got, f := r.Forward(mail.Address{}, now); f != NullSender || !got.IsZero() {
		t.Errorf("<>: %s (%v)", got, f)
	}
	nowhere, err := New(Options{Secrets: [][]byte{[]byte("x")}})
	if err != nil {
		t.Fatal(err)
	}
	if got, f := nowhere.Forward(addr(t, "ann@example.org"), now); f != NoDomain || got.String() != "ann@example.org" {
		t.Errorf("to nowhere: %s (%v)", got, f)
	}
	// its own it leaves alone
	own, _ := r.Forward(addr(t, "ann@example.org"), now)
	moved, err := own.WithDomain("other.example")
	if err != nil {
		t.Fatal(err)
	}
	if got, f := r.Forward(moved, now); f != Own || got != moved {
		t.Errorf("%s: %s (%v)", moved, got, f)
	}
}

// TestStamp: every day of a cycle of 1024, and every age.
func TestStamp(t *testing.T) {
	r := rewriter(t, Options{})
	plain := addr(t, "ann@example.org")
	judged := 0
	seen := map[string]bool{}
	for day := 21000 - 512; day < 21000+512; day++ {
		if got, ok := readStamp(stamp(day)); !ok || got != day%1024 || seen[stamp(day)] {
			t.Fatalf("day %d is %s, and that %d", day, stamp(day), got)
		}
		seen[stamp(day)] = true
		to, f := r.Forward(plain, onDay(day))
		if f != Forwarded {
			t.Fatal(f)
		}
		for age := -3; age < 1021; age++ {
			if age > 30 && day%64 != 0 {
				break
			}
			want := Expired
			if age >= 0 && age <= 21 {
				want = Valid
			}
			got := r.Reverse(to, onDay(day+age))
			if got.Standing != want || (got.Address == plain) != (want == Valid) {
				t.Fatalf("made on day %d, %d days old: %+v", day, age, got)
			}
			if age >= 0 && !got.Expires.Equal(onDay(day+22).Add(-12*time.Hour)) {
				t.Fatalf("made on day %d expires on %v", day, got.Expires)
			}
			judged++
		}
	}
	t.Logf("%d days, %d addresses judged", len(seen), judged)
}

func TestReverse(t *testing.T) {
	r := rewriter(t, Options{})
	now := onDay(20779)
	for in, want := range map[string]Standing{
		"ann@example.org": NotSRS, "srs@example.org": NotSRS, "srs0@example.org": NotSRS, "srs0.x@example.org": NotSRS, "SRS2=x@example.org": NotSRS, "ann": NotSRS,
		"SRS0=@example.org": Malformed, "SRS0=abcd@example.org": Malformed, "SRS0=abcd=UL@example.org": Malformed, "SRS0=abcd=UL=host@example.org": Malformed,
		"SRS0=abcd=UL=host=@example.org": Malformed, "SRS0=abcd=UL==user@example.org": Malformed, "SRS0=abcd=U1=host=user@example.org": Malformed,
		"SRS0=abcd=ULL=host=user@example.org": Malformed, "SRS0==UL=host=user@example.org": Malformed,
		"SRS1=@example.org": Malformed, "SRS1=abcd@example.org": Malformed, "SRS1=abcd=host@example.org": Malformed, "SRS1=abcd=host=@example.org": Malformed,
		"SRS0=abcd=UL=host=user@example.org": Forged, "srs0+abcd=ul=host=user@example.org": Forged, "SRS1-abcd=host==x@example.org": Forged,
		"SRS0=abc=UL=host=user@example.org": Forged, "SRS0=abcde=UL=host=user@example.org": Forged, `"SRS0=abcd=UL=host=us er"@example.org`: Forged,
	} {
		a := addr(t, in)
		if f := r.Reverse(a, now); f.Standing != want || !f.Address.IsZero() {
			t.Errorf("%s: %+v, want %v", in, f, want)
		}
		if Is(a) != (want != NotSRS) {
			t.Errorf("%s: srs %v", in, Is(a))
		}
	}
	if f := r.Reverse(mail.Address{}, now); f.Standing != NotSRS {
		t.Errorf("nobody: %+v", f)
	}
}

// TestProvenNonsense: a secret's owner may have hashed what is no address.
func TestProvenNonsense(t *testing.T) {
	r := rewriter(t, Options{})
	in := "SRS0=" + r.hash(r.secrets[0], "JL", "a/b", "user") + "=JL=a/b=user"
	if f := r.Reverse(addr(t, in+"@fwd.example"), onDay(20779)); f.Standing != Malformed {
		t.Errorf("%s: %+v", in, f)
	}
}

// TestLongOfOthers: a forwarder that minds no limit made it, and its bounce must find home here once its secret was taken over.
func TestLongOfOthers(t *testing.T) {
	r := rewriter(t, Options{})
	now := onDay(20779)
	user := strings.Repeat("u", 64)
	zero := "SRS0=" + r.hash(r.secrets[0], "JL", "a-long-name.example.org", user) + "=JL=a-long-name.example.org=" + user
	inner := zero[len("SRS0"):]
	one := "SRS1+" + r.hash(r.secrets[0], "first.example", inner) + "=first.example=" + inner
	for in, want := range map[string]string{zero: user + "@a-long-name.example.org", one: zero + "@first.example"} {
		a := addr(t, in+"@fwd.example")
		if f := r.Reverse(a, now); f.Standing != Valid || f.Address.String() != want {
			t.Errorf("%s: %+v, want %s", a, f, want)
		}
		other := addr(t, in+"@other.example")
		if to, f := rewriter(t, Options{Secrets: [][]byte{[]byte("another")}}).Forward(other, now); f != TooLong || to != other {
			t.Errorf("%s: %s (%v)", other, to, f)
		}
	}
}

func TestSeveralSecretsAndDigits(t *testing.T) {
	now := onDay(20779)
	old := rewriter(t, Options{Secrets: [][]byte{[]byte("old")}})
	made, _ := old.Forward(addr(t, "ann@example.org"), now)
	for name, tc := range map[string]struct {
		o    Options
		want Standing
	}{
		"new before old":    {Options{Secrets: [][]byte{[]byte("new"), []byte("old")}}, Valid},
		"new only":          {Options{Secrets: [][]byte{[]byte("new")}}, Forged},
		"longer by now":     {Options{Secrets: [][]byte{[]byte("old")}, Digits: 8, MinDigits: 4}, Valid},
		"longer only":       {Options{Secrets: [][]byte{[]byte("old")}, Digits: 8}, Forged},
		"another separator": {Options{Secrets: [][]byte{[]byte("old")}, Separator: '-'}, Valid},
	} {
		if f := rewriter(t, tc.o).Reverse(made, now); f.Standing != tc.want {
			t.Errorf("%s: %+v, want %v", name, f, tc.want)
		}
	}
}

func senders() *rapid.Generator[mail.Address] {
	return rapid.Custom(func(t *rapid.T) mail.Address {
		local := rapid.OneOf(
			rapid.StringMatching(`[A-Za-z0-9!#$%&'*+/=?^_{|}~-]{1,20}(\.[A-Za-z0-9]{1,4}){0,2}`),
			rapid.StringMatching(`"([ !#-\[\]-~]|\\["\\ a-z]){1,12}"`),
			rapid.StringMatching(`SRS[01][=+-][A-Za-z0-9]{4}=[A-Z2-7]{2}=a\.ex=[a-z]{1,4}`),
		).Draw(t, "local")
		a, err := mail.ParseAddress(local + "@" + rapid.SampledFrom([]string{"test.ex", "Example.ORG", "[192.0.2.1]"}).Draw(t, "domain"))
		if err != nil {
			t.Skip(err)
		}
		return a
	})
}

// TestChain sends a bounce back over three forwarders, each with its own secret and separator.
func TestChain(t *testing.T) {
	var hops []*Rewriter
	for i, sep := range "=+-" {
		hops = append(hops, rewriter(t, Options{Domain: fmt.Sprintf("f%d.ex", i), Secrets: [][]byte{{byte(i)}}, Separator: byte(sep)}))
	}
	rapid.Check(t, func(t *rapid.T) {
		sender := senders().Draw(t, "sender")
		day := rapid.IntRange(0, 60000).Draw(t, "day")
		way := []mail.Address{sender}
		for _, h := range hops {
			next, f := h.Forward(way[len(way)-1], onDay(day))
			if f != Forwarded {
				if next != way[len(way)-1] {
					t.Fatalf("%v, and changed to %s", f, next)
				}
				return
			}
			way = append(way, next)
		}
		if !strings.HasPrefix(strings.Trim(way[3].Local(), `"`), "SRS1-") {
			t.Fatalf("%v", way)
		}
		came := way[3]
		if rapid.Bool().Draw(t, "capitals") {
			came = addrOf(t, strings.ToUpper(came.String()))
		}
		later := onDay(day + rapid.IntRange(0, 21).Draw(t, "later"))
		f := hops[2].Reverse(came, later)
		if f.Standing != Valid || f.Level != 1 || !f.Expires.IsZero() {
			t.Fatalf("%s: %+v", came, f)
		}
		// SRS1 leads to the first forwarder and skips the second, whoever that was
		if Is(sender) {
			return
		}
		if f = hops[0].Reverse(f.Address, later); f.Standing != Valid || f.Level != 0 || !strings.EqualFold(f.Address.String(), sender.String()) {
			t.Fatalf("%v: %+v", way, f)
		}
	})
}

func addrOf(t *rapid.T, s string) mail.Address {
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return a
}

// TestEveryChange changes every character of hash and stamp into every other.
func TestEveryChange(t *testing.T) {
	r := rewriter(t, Options{})
	now := onDay(20779)
	changed := 0
	for _, sender := range []string{"ann@example.org", `"a n"@example.org`, "SRS0=abcd=UL=a.ex=ann@one.ex"} {
		made, _ := r.Forward(addr(t, sender), now)
		text := made.String()
		begin := strings.Index(text, "SRS")
		for i := begin; i < begin+len("SRS0=HHHH=TT="); i++ {
			for c := range 256 {
				a, err := mail.ParseAddress(text[:i] + string([]byte{byte(c)}) + text[i+1:])
				if err != nil || a == made {
					continue
				}
				changed++
				separator := i == begin+4 && strings.IndexByte("=+-", byte(c)) >= 0
				if f := r.Reverse(a, now); (f.Standing == Valid) != (separator || strings.EqualFold(a.String(), text)) {
					t.Errorf("%s instead of %s: %v", a, text, f.Standing)
				}
			}
		}
	}
	t.Logf("%d changed addresses", changed)
}

func TestNamesAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for f := range forwardings {
		seen["f"+f.String()] = true
	}
	for s := range standings {
		seen["s"+s.String()] = true
	}
	if len(seen) != int(forwardings)+int(standings) || seen["f"] || seen["s"] {
		t.Errorf("a name is empty or twice there: %v", seen)
	}
}

func TestPlainAllocatesNothing(t *testing.T) {
	r, a, now := rewriter(t, Options{}), addr(t, "ann.lee+news@mail.example.org"), onDay(20884)
	if n := testing.AllocsPerRun(100, func() { _, _ = Is(a), r.Reverse(a, now) }); n != 0 {
		t.Errorf("an address that is none of ours allocates %v times", n)
	}
}

func FuzzReverse(f *testing.F) {
	for _, s := range []string{
		"SRS0=abcd=UL=example.org=ann@fwd.example", "SRS1=abcd=one.ex==abcd=XY=a.ex=b@two.ex", `"SRS0+abcd=UL=example.org=a b"@fwd.example`,
		"srs0-=ul=x=y@z", "SRS1=a=b=@c", "SRS0=\u212abcd=UL=h=u@x", "ann@example.org", `"SRS0="@x`,
	} {
		f.Add(s, 20779)
	}
	r := rewriter(f, Options{})
	f.Fuzz(func(t *testing.T, s string, day int) {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return
		}
		now := onDay(day % 100000)
		v := r.Reverse(a, now)
		if v.Standing == Unasked || v.Standing >= standings || (v.Standing == Valid) == v.Address.IsZero() || Is(a) != (v.Standing != NotSRS) {
			t.Fatalf("%q: %+v", s, v)
		}
		to, done := r.Forward(a, now)
		if done == NotAsked || done >= forwardings || (done == Forwarded) == (to == a) {
			t.Fatalf("%q: %s, %v", s, to, done)
		}
		if done == Forwarded {
			if len(to.Local()) > mail.MaxLocalPart {
				t.Fatalf("%q became %s", s, to)
			}
			back := r.Reverse(to, now)
			if back.Standing != Valid || v.Standing == NotSRS && back.Address.Key() != a.Key() {
				t.Fatalf("%q became %s: %+v", s, to, back)
			}
		}
	})
}
