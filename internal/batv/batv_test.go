package batv

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"backstop/internal/keyring"
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

// ring makes keys 0, 1, …; the last one signs.
func ring(t testing.TB, secrets ...string) keyring.Ring {
	t.Helper()
	var keys []keyring.Key
	for i, s := range secrets {
		keys = append(keys, keyring.Key{ID: keyring.ID(i), Secret: keyring.Secret(s), SignsFrom: onDay(i).Add(-12 * time.Hour)})
	}
	r, err := keyring.New(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestVectors holds what Exim computed.
func TestVectors(t *testing.T) {
	one := ring(t, "secret")
	both := ring(t, "other", "secret")
	for _, tc := range []struct {
		keys         keyring.Ring
		day          int // whose DDD is the tag's, less the lifetime
		plain, want  string
		asEximWrites string // where it differs: over the address as it is written
	}{
		{one, 20884, "userx@test.ex", "prvs=08918d5b80=userx@test.ex", ""},
		{one, 21000, "userx@test.ex", "prvs=0007c8b3f0=userx@test.ex", ""},
		{both, 20992, "userx@test.ex", "prvs=1999e9a3b8=userx@test.ex", ""},
		{one, 20884, "UserX@Test.EX", "prvs=08918d5b80=UserX@Test.EX", "prvs=0891e8d47f=UserX@Test.EX"},
	} {
		now := onDay(tc.day)
		got, s := Sign(tc.keys, addr(t, tc.plain), now)
		if s != Signed || got.String() != tc.want {
			t.Errorf("%s on day %d: %s (%v), want %s", tc.plain, tc.day, got, s, tc.want)
		}
		for _, tagged := range []string{tc.want, tc.asEximWrites, strings.ToUpper(tc.want), strings.ToLower(tc.want)} {
			if tagged == "" {
				continue
			}
			f := Verify(tc.keys, addr(t, tagged), now)
			if f.Standing != Valid || f.Address.Key() != addr(t, tc.plain).Key() || f.Scheme != Prvs || f.Key.Digit() != tagged[5] ||
				!f.Expires.Equal(onDay(tc.day+8).Add(-12*time.Hour)) {
				t.Errorf("%s on day %d: %+v", tagged, tc.day, f)
			}
		}
	}
}

// TestNextWrap: the tag of the day before the modulus begins anew is good after it.
func TestNextWrap(t *testing.T) {
	keys := ring(t, "secret")
	made := time.Date(2027, 6, 30, 12, 0, 0, 0, time.UTC)
	tagged, _ := Sign(keys, addr(t, "userx@test.ex"), made)
	if got := tagged.String()[:9]; got != "prvs=0006" {
		t.Fatalf("made on the eve of the wrap: %s", tagged)
	}
	for days := range 1001 {
		want := Valid
		if days > 7 && days < 1000 {
			want = Expired
		}
		f := Verify(keys, tagged, made.AddDate(0, 0, days))
		if f.Standing != want {
			t.Fatalf("%s after %d days: %v, want %v", tagged, days, f.Standing, want)
		}
		if end := time.Date(2027, 7, 8, 0, 0, 0, 0, time.UTC); days < 900 && !f.Expires.Equal(end) {
			t.Fatalf("%s after %d days expires on %v, want %v", tagged, days, f.Expires, end)
		}
	}
}

// TestCycle goes through every day of a cycle of 1000 around the next wrap and, for each, through every
// day on which the tag may come back.
func TestCycle(t *testing.T) {
	keys := ring(t, "secret")
	plain := addr(t, "userx@test.ex")
	const wrap = 21000 // 2027-07-01
	if !time.Unix(wrap*86400, 0).UTC().Equal(time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC)) {
		t.Fatal("the wrap is another day")
	}
	seen := map[string]bool{}
	judged := 0
	for day := wrap - 500; day < wrap+500; day++ {
		tagged, s := Sign(keys, plain, onDay(day))
		if s != Signed || seen[tagged.String()] || tagged.String()[6:9] != fmt.Sprintf("%03d", (day+7)%1000) {
			t.Fatalf("day %d: %s (%v), seen before: %v", day, tagged, s, seen[tagged.String()])
		}
		seen[tagged.String()] = true
		for _, edge := range []time.Duration{-12 * time.Hour, 12*time.Hour - 1} {
			if again, _ := Sign(keys, plain, onDay(day).Add(edge)); again != tagged {
				t.Fatalf("day %d: %s and %s", day, tagged, again)
			}
		}
		for later := -12; later < 988; later++ {
			if day%50 != 0 && later > 12 {
				break
			}
			want := Expired
			if later >= 0 && later <= 7 {
				want = Valid
			}
			for _, edge := range []time.Duration{-12 * time.Hour, 12*time.Hour - 1} {
				f := Verify(keys, tagged, onDay(day+later).Add(edge))
				if f.Standing != want || f.Address != plain {
					t.Fatalf("made on day %d, back after %d: %+v, want %v", day, later, f, want)
				}
				if later >= 0 && !f.Expires.Equal(onDay(day+8).Add(-12*time.Hour)) {
					t.Fatalf("made on day %d, back after %d, expires on %v", day, later, f.Expires)
				}
				judged++
			}
		}
	}
	t.Logf("%d days, %d tags judged", len(seen), judged)
}

// TestEveryChange changes every character of a tagged local part into every other.
func TestEveryChange(t *testing.T) {
	keys := ring(t, "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
	now := onDay(20779)
	changed, standings := 0, map[Standing]int{}
	for _, plain := range []string{"userx@test.ex", "a@test.ex", `"a b"@test.ex`, "0123456789@test.ex", "User+Tag@test.ex"} {
		tagged, s := Sign(keys, addr(t, plain), now)
		if s != Signed || Verify(keys, tagged, now).Standing != Valid {
			t.Fatalf("%s: %v", plain, s)
		}
		text := tagged.String()
		begin := strings.Index(text, "prvs=")
		for i := begin; i < begin+16; i++ {
			for c := range 256 {
				other := text[:i] + string([]byte{byte(c)}) + text[i+1:]
				if other == text {
					continue
				}
				a, err := mail.ParseAddress(other)
				if err != nil {
					continue
				}
				changed++
				f := Verify(keys, a, now)
				standings[f.Standing]++
				caseOnly := strings.EqualFold(other, text) && c < 0x80
				if (f.Standing == Valid) != caseOnly {
					t.Errorf("%s instead of %s: %v", other, text, f.Standing)
				}
			}
		}
	}
	t.Logf("%d changed tags: %v", changed, standings)
}

func TestSign(t *testing.T) {
	keys := ring(t, "secret")
	now := onDay(20884)
	local48 := strings.Repeat("l", 48)
	for in, want := range map[string]struct {
		out string
		s   Signing
	}{
		"userx@test.ex":                          {"prvs=08918d5b80=userx@test.ex", Signed},
		"UserX@Test.EX.":                         {"prvs=08918d5b80=UserX@Test.EX.", Signed},
		`"userx"@test.ex`:                        {`"prvs=08918d5b80=userx"@test.ex`, Signed},
		"userx":                                  {"userx", NoDomain},
		local48 + "@test.ex":                     {"", Signed},
		local48 + "l@test.ex":                    {local48 + "l@test.ex", TooLong},
		"prvs=08918d5b80=userx@test.ex":          {"", AlreadyTagged},
		"prvs=0891000000=userx@test.ex":          {"", AlreadyTagged},
		"PRVS=9123ABCDEF=userx@test.ex":          {"", AlreadyTagged},
		"prvs=userx=0891abcdef@test.ex":          {"", AlreadyTagged},
		"btv1==069e9a27ba6==userx@test.ex":       {"", AlreadyTagged},
		"msprvs1=17640LfTIFyTm=userx@test.ex":    {"", AlreadyTagged},
		"userx+prvs=0891abcdef@test.ex":          {"", AlreadyTagged},
		`"prvs=0891000000=user x"@test.ex`:       {"", AlreadyTagged},
		"SRS0=abcd=XY=example.org=ann@test.ex":   {"", Rewritten},
		"srs0+abcd=XY=example.org=ann@test.ex":   {"", Rewritten},
		"SRS1-abcd=a.ex==e=X=b.ex=ann@test.ex":   {"", Rewritten},
		`"SRS0=abcd=XY=example.org=a b"@test.ex`: {"", Rewritten},
		"srs0@test.ex":                           {"", Signed},
		"srs2=x@test.ex":                         {"", Signed},
		"prvs=x=userx@test.ex":                   {"", Signed},
		"prvs@test.ex":                           {"", Signed},
	} {
		a := addr(t, in)
		got, s := Sign(keys, a, now)
		if s != want.s || want.out != "" && got.String() != want.out || s != Signed && got != a {
			t.Errorf("%s: %s (%v), want %s (%v)", in, got, s, want.out, want.s)
		}
		if s == Signed {
			if again, s := Sign(keys, got, now); s != AlreadyTagged || again != got {
				t.Errorf("%s is tagged twice: %s (%v)", got, again, s)
			}
		}
		if Taggable(a) != (s != TooLong && s != NoDomain) {
			t.Errorf("%s: taggable %v, and %v", in, Taggable(a), s)
		}
	}
	if got, s := Sign(keys, mail.Address{}, now); s != NullSender || !got.IsZero() {
		t.Errorf("<> becomes %q (%v)", got, s)
	}
	if got, s := Sign(keyring.Ring{}, addr(t, "userx@test.ex"), now); s != NoKey || got.String() != "userx@test.ex" {
		t.Errorf("without a key: %s (%v)", got, s)
	}
}

// TestRetry: what is tried on another day keeps the tag of the first, whatever key signs by then.
func TestRetry(t *testing.T) {
	first := time.Date(2026, 11, 22, 23, 59, 0, 0, time.UTC)
	keys, err := keyring.New(
		keyring.Key{ID: 4, Secret: keyring.Secret("old"), SignsFrom: first.AddDate(0, -1, 0)},
		keyring.Key{ID: 5, Secret: keyring.Secret("new"), SignsFrom: first})
	if err != nil {
		t.Fatal(err)
	}
	a := addr(t, "userx@test.ex")
	tagged, _ := Sign(keys, a, first)
	if again, _ := Sign(keys, a, first.Add(-23*time.Hour)); again != tagged {
		t.Errorf("on one day %s and %s", tagged, again)
	}
	next, _ := Sign(keys, a, first.Add(2*time.Minute))
	if Verify(keys, tagged, first).Key != 4 || Verify(keys, next, first.Add(time.Hour)).Key != 5 {
		t.Errorf("the new key begins at midnight, and not with %s and %s", tagged, next)
	}
	if f := Verify(keys, tagged, first.AddDate(0, 0, 7)); f.Standing != Valid {
		t.Errorf("the old key's tag after a week: %v", f.Standing)
	}
}

func TestKeys(t *testing.T) {
	now := onDay(20884)
	tagged, _ := Sign(ring(t, "other", "secret"), addr(t, "userx@test.ex"), now)
	retired, err := keyring.New(keyring.Key{ID: 1, Secret: keyring.Secret("secret"), Retired: now})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		keys keyring.Ring
		want Standing
	}{
		"both":        {ring(t, "other", "secret"), Valid},
		"more":        {ring(t, "other", "secret", "third"), Valid},
		"one":         {ring(t, "secret"), UnknownKey},
		"none":        {keyring.Ring{}, UnknownKey},
		"retired":     {retired, UnknownKey},
		"same number": {ring(t, "secret", "other"), Forged},
	} {
		if f := Verify(tc.keys, tagged, now); f.Standing != tc.want || f.Key != 1 || f.Address.String() != "userx@test.ex" {
			t.Errorf("%s: %+v, want %v", name, f, tc.want)
		}
	}
}

func TestForms(t *testing.T) {
	keys := ring(t, "secret")
	for in, want := range map[string]struct {
		plain  string
		scheme Scheme
		s      Standing
	}{
		"prvs=08918d5b80=userx@test.ex":                   {"userx@test.ex", Prvs, Valid},
		"prvs=08918D5B80=USERX@TEST.EX":                   {"USERX@TEST.EX", Prvs, Valid},
		`"prvs=08918d5b80=userx"@test.ex`:                 {`"userx"@test.ex`, Prvs, Valid},
		"prvs=0890000000=userx@test.ex":                   {"userx@test.ex", Prvs, Forged},
		"prvs=8891abcdef=userx@test.ex":                   {"userx@test.ex", Prvs, UnknownKey},
		"prvs=08918d5b80=prvs=08918d5b80=userx@test.ex":   {"prvs=08918d5b80=userx@test.ex", Prvs, Forged},
		"prvs=userx=0891abcdef@test.ex":                   {"userx@test.ex", Cisco, Foreign},
		"prvs=joe=123ABCDEFG@test.ex":                     {"joe@test.ex", Cisco, Foreign},
		"prvs=a=b=0891abcdef@test.ex":                     {"a=b@test.ex", Cisco, Foreign},
		"btv1==069e9a27ba6==Ann.Lee@test.ex":              {"Ann.Lee@test.ex", Barracuda, Foreign},
		"msprvs1=17640LfTIFyTm=bounces-263252@test.ex":    {"bounces-263252@test.ex", SparkPost, Foreign},
		"msprvs1=20676xgzi92p-=bounces-1898-1322@test.ex": {"bounces-1898-1322@test.ex", SparkPost, Foreign},
		"me+prvs=2987A7B7C7@test.ex":                      {"me@test.ex", Suffix, Foreign},
		`"m e+prvs=2987A7B7C7"@test.ex`:                   {`"m e"@test.ex`, Suffix, Foreign},
		"userx@test.ex":                                   {"", NoScheme, Untagged},
		"prvs=08918d5b80=@test.ex":                        {"", NoScheme, Untagged},
		"prvs=08918d5b80=.x@test.ex":                      {`".x"@test.ex`, Prvs, Forged}, // whoever folded it dropped the quotes
		"prvs=0891=userx@test.ex":                         {"", NoScheme, Untagged},
		"prvs==0891abcdef@test.ex":                        {"", NoScheme, Untagged},
		"btv1==069e9a27ba6==@test.ex":                     {"", NoScheme, Untagged},
		"btv1==nothex789==userx@test.ex":                  {"", NoScheme, Untagged},
		"msprvs1==userx@test.ex":                          {"", NoScheme, Untagged},
		"+prvs=2987A7B7C7@test.ex":                        {"", NoScheme, Untagged},
		"SRS0=abcd=XY=example.org=ann@test.ex":            {"", NoScheme, Untagged},
		"userx":                                           {"", NoScheme, Untagged},
	} {
		a := addr(t, in)
		f := Verify(keys, a, onDay(20884))
		if want.plain == "" {
			want.plain = in
		}
		if f.Standing != want.s || f.Scheme != want.scheme || f.Address.String() != want.plain {
			t.Errorf("%s: %v, %v, %q; want %+v", in, f.Standing, f.Scheme, f.Address, want)
		}
	}
	if f := Verify(keys, mail.Address{}, onDay(1)); f.Standing != Untagged || !f.Address.IsZero() {
		t.Errorf("nobody: %+v", f)
	}
}

// addresses draws what people use, and what they might.
func addresses() *rapid.Generator[mail.Address] {
	return rapid.Custom(func(t *rapid.T) mail.Address {
		local := rapid.OneOf(
			rapid.StringMatching(`[A-Za-z0-9!#$%&'*+/=?^_{|}~-]{1,30}(\.[A-Za-z0-9]{1,6}){0,3}`),
			rapid.StringMatching(`"([ !#-\[\]-~]|\\["\\ a-z]){1,20}"`),
			rapid.StringMatching(`[äÖßλΣñ日本À]{1,8}`),
			rapid.StringMatching(`(prvs=|PRVS=|SRS0=|btv1==|msprvs1=)?[0-9a-f]{8,12}(=|==|\+prvs=)[0-9a-z]{1,10}`),
		).Draw(t, "local")
		a, err := mail.ParseAddress(local + "@" + rapid.SampledFrom([]string{"test.ex", "Example.ORG", "[192.0.2.1]", "BÜCHER.example"}).Draw(t, "domain"))
		if err != nil {
			t.Skip(err)
		}
		return a
	})
}

// TestRoundTrip: what is signed is valid for its lifetime under any case, names its key, and gives back the
// address; for another address or under another secret it is not.
func TestRoundTrip(t *testing.T) {
	keys, others := ring(t, "a", "b", "secret"), ring(t, "A", "B", "Secret")
	rapid.Check(t, func(t *rapid.T) {
		a := addresses().Draw(t, "address")
		day := rapid.IntRange(3, 60000).Draw(t, "day")
		tagged, s := Sign(keys, a, onDay(day))
		if s != Signed {
			if tagged != a {
				t.Fatalf("%s: %v, and changed to %s", a, s, tagged)
			}
			return
		}
		if len(tagged.Local()) > mail.MaxLocalPart || tagged.Domain() != a.Domain() {
			t.Fatalf("%s becomes %s", a, tagged)
		}
		if tagged.Routed() != a.Routed() {
			t.Fatalf("%s is routed: %v, %s: %v", a, a.Routed(), tagged, tagged.Routed())
		}
		back := onDay(day + rapid.IntRange(0, 7).Draw(t, "later"))
		for _, text := range []string{tagged.String(), tagged.Key(), strings.ToUpper(tagged.String()), strings.ToLower(tagged.String())} {
			came, err := mail.ParseAddress(text)
			if err != nil || came.Key() != tagged.Key() {
				continue // a letter that has no single capital
			}
			f := Verify(keys, came, back)
			if f.Standing != Valid || f.Key != 2 || f.Address.Key() != a.Key() || text == tagged.String() && f.Address != a {
				t.Fatalf("%s as %s: %+v", a, text, f)
			}
			if f := Verify(others, came, back); f.Standing != Forged {
				t.Fatalf("%s under another secret: %+v", text, f)
			}
		}
		if f := Verify(keys, tagged, onDay(day+rapid.IntRange(8, 999).Draw(t, "much later"))); f.Standing != Expired {
			t.Fatalf("%s, made on day %d: %+v", tagged, day, f)
		}
	})
}

func TestNamesAreComplete(t *testing.T) {
	seen := map[string]bool{}
	check := func(s fmt.Stringer) {
		if n := s.String(); n == "" || seen[fmt.Sprintf("%T", s)+n] {
			t.Errorf("%T %q is empty or twice there", s, n)
		}
		seen[fmt.Sprintf("%T", s)+s.String()] = true
	}
	for s := range signings {
		check(s)
	}
	for s := range standings {
		check(s)
	}
	for s := NoScheme + 1; s < schemes; s++ {
		check(s)
	}
}

func TestUntaggedAllocatesNothing(t *testing.T) {
	keys, a, now := ring(t, "secret"), addr(t, "ann.lee+news@mail.example.org"), onDay(20884)
	if n := testing.AllocsPerRun(100, func() { _ = Verify(keys, a, now) }); n != 0 {
		t.Errorf("looking for a tag where there is none allocates %v times", n)
	}
}

func FuzzVerify(f *testing.F) {
	for _, s := range []string{
		"prvs=08918d5b80=userx@test.ex", `"prvs=08918d5b80=u \" x"@test.ex`, "prvs=userx=0891abcdef@test.ex", "btv1==069e9a27ba6==a@test.ex",
		"msprvs1=17640LfTIFyTm=b@test.ex", "me+prvs=2987A7B7C7@test.ex", `"\+prvs=2987A7B7C7"@test.ex`, "prvs=1=@x", "SRS0=a=b=c=d@test.ex", "userx",
	} {
		f.Add(s, 20884)
	}
	keys := ring(f, "secret", "other")
	f.Fuzz(func(t *testing.T, s string, day int) {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return
		}
		now := onDay(day % 100000)
		v := Verify(keys, a, now)
		if v.Standing == Unasked || v.Standing >= standings || (v.Standing == Untagged) != (v.Scheme == NoScheme) || v.Address.IsZero() ||
			v.Address.Domain() != a.Domain() || (v.Address == a) != (v.Standing == Untagged) || !strings.Contains(a.Local(), strings.Trim(v.Address.Local(), `"`)) {
			t.Fatalf("%q: %+v", s, v)
		}
		tagged, done := Sign(keys, a, now)
		if done == NotAsked || done >= signings || (done == Signed) == (tagged == a) {
			t.Fatalf("%q: %s, %v", s, tagged, done)
		}
		if done == Signed {
			if v := Verify(keys, tagged, now); v.Standing != Valid || v.Address != a {
				t.Fatalf("%q became %s: %+v", s, tagged, v)
			}
		}
	})
}
