package seal

import (
	"bufio"
	"bytes"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"backstop/internal/keyring"
	"backstop/internal/mail"

	"pgregory.net/rapid"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

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
		keys = append(keys, keyring.Key{ID: keyring.ID(i), Secret: keyring.Secret(s), SignsFrom: now.AddDate(-1, i, 0)})
	}
	r, err := keyring.New(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// value is what stands behind the name of a field that was made.
func value(t testing.TB, field, name string) string {
	t.Helper()
	v, ok := strings.CutPrefix(field, name+":")
	if !ok || !strings.HasSuffix(v, "\r\n") {
		t.Fatalf("%q is no field %s", field, name)
	}
	return v
}

func seal(t testing.TB, keys keyring.Ring, sender string, at time.Time) string {
	t.Helper()
	field, ok := Seal(keys, addr(t, sender), at)
	if !ok {
		t.Fatal("no seal")
	}
	return value(t, field, SealName)
}

func origin(t testing.TB, keys keyring.Ring, p Proof, sender string, at time.Time) string {
	t.Helper()
	field, ok := Origin(keys, p, addr(t, sender), at)
	if !ok {
		t.Fatal("no origin")
	}
	return value(t, field, OriginName)
}

// TestForm: version 1 is what it is; what was sealed yesterday must be understood tomorrow.
func TestForm(t *testing.T) {
	keys := ring(t, "a", "b", "c", "secret")
	got, _ := Seal(keys, addr(t, "UserX@Test.EX"), now)
	if want := "Backstop-Seal: v=1; k=3; t=1795348800; h=" + wantSeal + "\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	got, _ = Origin(keys, Proof{SPF: SoftFail, DMARC: Pass, Aligned: true}, addr(t, "userx@test.ex"), now)
	if want := "Backstop-Origin: v=1; k=3; t=1795348800; spf=softfail; dkim=none;\r\n dmarc=pass; aligned=yes; h=" + wantOrigin + "\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Computed apart, by Python: hmac(b"secret", b"Backstop-Seal\nv=1;k=3;t=1795348800;\nuserx@test.ex").
const (
	wantSeal   = "64c0d345acf9626de12e85e8e1615605"
	wantOrigin = "17f2f33aed096e28860859b1c89eac7a"
)

// TestLines: no line is longer than 78 octets (RFC 5322, 2.1.1), so that nobody has a reason to fold it anew.
func TestLines(t *testing.T) {
	keys := ring(t, "secret")
	for r := range results {
		for _, aligned := range []bool{false, true} {
			field, ok := Origin(keys, Proof{r, r, r, aligned}, addr(t, "userx@test.ex"), time.Unix(9999999999, 0))
			s, ok2 := Seal(keys, addr(t, "userx@test.ex"), time.Unix(9999999999, 0))
			if !ok || !ok2 {
				t.Fatal("none made")
			}
			for _, line := range strings.Split(strings.TrimSuffix(field+s, "\r\n"), "\r\n") {
				if len(line) > 78 || strings.TrimSpace(line) == "" || strings.TrimRight(line, " ") != line {
					t.Errorf("%q has %d octets", line, len(line))
				}
			}
		}
	}
}

func TestVerifySeal(t *testing.T) {
	keys := ring(t, "zero", "one")
	ok := seal(t, keys, "userx@test.ex", now)
	other := seal(t, keys, "usery@test.ex", now)
	later := seal(t, ring(t, "zero", "one", "two"), "userx@test.ex", now)
	ofOrigin := origin(t, keys, Proof{}, "userx@test.ex", now)
	retired, err := keyring.New(keyring.Key{ID: 1, Secret: keyring.Secret("one"), Retired: now})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		keys   keyring.Ring
		values []string
		after  time.Duration
		want   Standing
	}{
		"absent":                          {keys, nil, 0, Absent},
		"valid":                           {keys, []string{ok}, 0, Valid},
		"valid to the last":               {keys, []string{ok}, Lifetime - 1, Valid},
		"expired":                         {keys, []string{ok}, Lifetime, Expired},
		"a clock a little ahead":          {keys, []string{ok}, -Ahead, Valid},
		"a clock far ahead":               {keys, []string{ok}, -Ahead - time.Second, Expired},
		"of another sender":               {keys, []string{other}, 0, Forged},
		"of another sender, expired":      {keys, []string{other}, Lifetime, Forged},
		"a key not known yet":             {keys, []string{later}, 0, UnknownKey},
		"a key retired":                   {retired, []string{ok}, 0, UnknownKey},
		"no keys":                         {keyring.Ring{}, []string{ok}, 0, UnknownKey},
		"another's key":                   {ring(t, "zero", "uno"), []string{ok}, 0, Forged},
		"an origin for a seal":            {keys, []string{ofOrigin}, 0, Forged},
		"a later version":                 {keys, []string{strings.Replace(ok, "v=1", "v=2", 1)}, 0, UnknownVersion},
		"a later version of another form": {keys, []string{" v=17; whatever"}, 0, UnknownVersion},
		"no version":                      {keys, []string{" v=; k=1"}, 0, Forged},
		"a version that is none":          {keys, []string{" v=1a; k=1"}, 0, Forged},
		"empty":                           {keys, []string{""}, 0, Forged},
		"white space":                     {keys, []string{" \r\n\t"}, 0, Forged},
		"without its hash":                {keys, []string{ok[:strings.Index(ok, "; h=")]}, 0, Forged},
		"hash cut short":                  {keys, []string{ok[:len(ok)-3]}, 0, Forged},
		"hash too long":                   {keys, []string{ok[:len(ok)-2] + "0"}, 0, Forged},
		"text behind":                     {keys, []string{ok[:len(ok)-2] + "; x=y"}, 0, Forged},
		"time with a sign":                {keys, []string{strings.Replace(ok, "t=1", "t=-1", 1)}, 0, Forged},
		"too long":                        {keys, []string{ok + strings.Repeat("x", 300)}, 0, Forged},
		"not ascii":                       {keys, []string{strings.Replace(ok, "k=1", "k=1\u00a0", 1)}, 0, Forged},
		"beside one of another's":         {keys, []string{other, ok}, 0, Valid},
		"before one of another's":         {keys, []string{ok, "v=9;x", other}, 0, Valid},
		"twice":                           {keys, []string{ok, ok}, 0, Valid},
		"several, none valid":             {keys, []string{other, later}, 0, Several},
		"several, all expired":            {keys, []string{ok, ok}, Lifetime, Several},
		"eight, the last valid":           {keys, []string{other, other, other, other, other, other, other, ok}, 0, Valid},
		"too many":                        {keys, []string{ok, ok, ok, ok, ok, ok, ok, ok, ok}, 0, Several},
	} {
		f := VerifySeal(tc.keys, tc.values, addr(t, "userx@test.ex"), now.Add(tc.after))
		if f.Standing != tc.want {
			t.Errorf("%s: %+v, want %v", name, f, tc.want)
		}
		if inTime := f.Standing == Valid || f.Standing == Expired; inTime != (!f.Made.IsZero() && f.Expires.Equal(now.Add(Lifetime))) || inTime && f.Key != 1 {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if f := VerifySeal(keys, []string{ok}, mail.Address{}, now); f.Standing != Forged {
		t.Errorf("to the null sender: %+v", f)
	}
}

func TestNoneMade(t *testing.T) {
	keys := ring(t, "secret")
	for name, tc := range map[string]struct {
		keys   keyring.Ring
		sender mail.Address
		at     time.Time
	}{
		"null sender": {keys, mail.Address{}, now},
		"no key":      {keyring.Ring{}, addr(t, "a@b"), now},
		"no clock":    {keys, addr(t, "a@b"), time.Time{}},
	} {
		s, ok := Seal(tc.keys, tc.sender, tc.at)
		o, ok2 := Origin(tc.keys, Proof{}, tc.sender, tc.at)
		if ok || ok2 || s+o != "" {
			t.Errorf("%s: %q, %q", name, s, o)
		}
	}
}

func TestVerifyOrigin(t *testing.T) {
	keys := ring(t, "zero", "one")
	bare := origin(t, keys, Proof{SPF: Fail, DKIM: Pass, DMARC: Pass}, "userx@test.ex", now)
	proven := origin(t, keys, Proof{SPF: Pass, DKIM: None, DMARC: None}, "userx@test.ex", now)
	other := origin(t, keys, Proof{SPF: Pass}, "usery@test.ex", now)
	aSeal := seal(t, keys, "userx@test.ex", now)
	for name, tc := range map[string]struct {
		values []string
		want   Standing
		proves bool
		dkim   Result
	}{
		"absent":                {nil, Absent, false, None},
		"proven":                {[]string{proven}, Valid, true, None},
		"nothing proven":        {[]string{bare}, Valid, false, Pass},
		"another's":             {[]string{other}, Forged, false, None},
		"a seal for an origin":  {[]string{aSeal}, Forged, false, None},
		"another result":        {[]string{strings.Replace(bare, "spf=fail", "spf=pass", 1)}, Forged, false, None},
		"aligned by hand":       {[]string{strings.Replace(bare, "aligned=no", "aligned=yes", 1)}, Forged, false, None},
		"the proven one of two": {[]string{bare, proven}, Valid, true, None},
		"the proven one first":  {[]string{proven, bare}, Valid, true, None},
		"beside another's":      {[]string{other, bare, aSeal}, Valid, false, Pass},
		"several, none ours":    {[]string{other, aSeal}, Several, false, None},
		"too many":              {[]string{proven, proven, proven, proven, proven, proven, proven, proven, proven}, Several, false, None},
	} {
		f, p := VerifyOrigin(keys, tc.values, addr(t, "userx@test.ex"), now)
		if f.Standing != tc.want || p.Proves() != tc.proves || p.DKIM != tc.dkim || f.Standing != Valid && p != (Proof{}) {
			t.Errorf("%s: %+v, %+v; want %+v", name, f, p, tc)
		}
	}
}

func TestProves(t *testing.T) {
	for p, want := range map[Proof]bool{
		{}: false, {SPF: Pass}: true, {SPF: SoftFail}: false, {DKIM: Pass}: false, {DKIM: Pass, Aligned: true}: false, {DMARC: Pass}: false,
		{DMARC: Pass, Aligned: true}: true, {SPF: Fail, DMARC: Pass, Aligned: true}: true, {DMARC: Fail, Aligned: true}: false, {Aligned: true}: false, {SPF: TempError, DMARC: TempError}: false,
	} {
		if p.Proves() != want {
			t.Errorf("%+v proves: %v", p, !want)
		}
	}
}

// TestEveryProof: what was found comes back as it was.
func TestEveryProof(t *testing.T) {
	keys, n := ring(t, "secret"), 0
	for i := range int(results) * int(results) * int(results) * 2 {
		p := Proof{SPF: Result(i % 7), DKIM: Result(i / 7 % 7), DMARC: Result(i / 49 % 7), Aligned: i/343 == 1}
		f, got := VerifyOrigin(keys, []string{origin(t, keys, p, "userx@test.ex", now)}, addr(t, "userx@test.ex"), now)
		if f.Standing != Valid || got != p {
			t.Fatalf("%+v comes back as %+v (%v)", p, got, f.Standing)
		}
		n++
	}
	t.Logf("%d proofs", n)
}

// TestEveryChange: a field in which one character is another proves nothing, but for the case of its letters
// and white space.
func TestEveryChange(t *testing.T) {
	keys := ring(t, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	sender := addr(t, "userx@test.ex")
	changed, standings := 0, map[Standing]int{}
	for _, text := range []string{seal(t, keys, "userx@test.ex", now), origin(t, keys, Proof{SPF: Pass, DKIM: Fail}, "userx@test.ex", now)} {
		for i := range text {
			for c := range 256 {
				other := text[:i] + string([]byte{byte(c)}) + text[i+1:]
				same := strings.EqualFold(squeeze(other), squeeze(text))
				f := VerifySeal(keys, []string{other}, sender, now)
				if strings.Contains(text, "spf") {
					f, _ = VerifyOrigin(keys, []string{other}, sender, now)
				}
				if (f.Standing == Valid) != same {
					t.Errorf("%q: %v", other, f.Standing)
				}
				changed++
				standings[f.Standing]++
			}
		}
	}
	t.Logf("%d changed fields: %v", changed, standings)
}

func squeeze(s string) string {
	return strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace(s)
}

// mangle does to a field what servers do to headers that they return.
func mangle(t *rapid.T, field string) string {
	name, v, _ := strings.Cut(field, ":")
	switch rapid.IntRange(0, 3).Draw(t, "case") {
	case 0:
		name = strings.ToLower(name)
	case 1:
		name = strings.ToUpper(name)
	case 2:
		v = strings.ToUpper(v)
	}
	eol := rapid.SampledFrom([]string{"\r\n", "\n", "\r\r\n"}).Draw(t, "line end")
	v = squeeze(v)
	for end := len(v); end > 0; { // from the end, so that no fold is folded
		end = rapid.IntRange(0, end-1).Draw(t, "at")
		v = v[:end] + rapid.SampledFrom([]string{" ", "\t", eol + " ", eol + "\t\t", " " + eol + "   "}).Draw(t, "white space") + v[end:]
	}
	return name + rapid.SampledFrom([]string{":", " :", ":\t ", ": "}).Draw(t, "colon") + v + rapid.SampledFrom([]string{"", " ", "\t"}).Draw(t, "end") + eol
}

// TestMangled: refolding, white space and letter case on the way do not matter; other headers around do not either.
func TestMangled(t *testing.T) {
	keys := ring(t, "secret")
	rapid.Check(t, func(t *rapid.T) {
		sender, err := mail.ParseAddress(rapid.StringMatching(`[A-Za-z0-9+.=-]{1,20}`).Draw(t, "local") + "@Test.EX")
		if err != nil {
			t.Skip()
		}
		p := Proof{SPF: Result(rapid.IntRange(0, 6).Draw(t, "spf")), DMARC: Result(rapid.IntRange(0, 6).Draw(t, "dmarc")), Aligned: rapid.Bool().Draw(t, "aligned")}
		s, _ := Seal(keys, sender, now)
		o, _ := Origin(keys, p, sender, now)
		header := "Received: from x\r\n\tby y; backstop-seal: no\r\nSubject: Backstop-Seal: v=1\nX-Backstop-Seal: v=1\n" + mangle(t, o) + "Backstop-Seals: no\n continued\n" + mangle(t, s) + "To: x\n\nBackstop-Seal: body\n"
		seals, origins := Values([]byte(header), SealName), Values([]byte(header), OriginName)
		if len(seals) != 1 || len(origins) != 1 {
			t.Fatalf("%d and %d found in\n%q", len(seals), len(origins), header)
		}
		if f := VerifySeal(keys, seals, sender, now); f.Standing != Valid {
			t.Fatalf("%q: %+v", seals, f)
		}
		if f, got := VerifyOrigin(keys, origins, sender, now); f.Standing != Valid || got != p {
			t.Fatalf("%q: %+v %+v", origins, f, got)
		}
	})
}

func TestValues(t *testing.T) {
	long := strings.Repeat("x", 100000)
	for in, want := range map[string]int{
		"": 0, "\n": 0, "Backstop-Seal: a": 1, "backstop-seal:a\nBACKSTOP-SEAL :b\n": 2, "\nBackstop-Seal: a\n": 0, "Backstop-Seal\n": 0, " Backstop-Seal: a\n": 0,
		"Backstop-Seal: " + long + "\n" + strings.Repeat(" "+long+"\n", 20): 1, strings.Repeat("Backstop-Seal: a\n", 50): MaxFields + 1, "X: y\n Backstop-Seal: a\n": 0,
	} {
		got := Values([]byte(in), SealName)
		if len(got) != want {
			t.Errorf("%.60q: %d found, want %d", in, len(got), want)
		}
		for _, v := range got {
			if len(v) > 8*maxValue {
				t.Errorf("%.60q: %d octets are kept", in, len(v))
			}
		}
	}
}

func TestNamesAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for s := range standings {
		seen["s"+s.String()] = true
	}
	for r := range results {
		seen["r"+r.String()] = true
	}
	if len(seen) != int(standings)+int(results) || seen["s"] || seen["r"] {
		t.Errorf("a name is empty or twice there: %v", seen)
	}
}

func TestAbsentAllocatesNothing(t *testing.T) {
	keys, a := ring(t, "secret"), addr(t, "userx@test.ex")
	header := []byte("Received: from x\r\n\tby y\r\nSubject: something\r\nMessage-ID: <1@x>\r\n\r\n")
	if n := testing.AllocsPerRun(100, func() { _ = VerifySeal(keys, Values(header, SealName), a, now) }); n != 0 {
		t.Errorf("looking for a seal where there is none allocates %v times", n)
	}
}

func FuzzVerify(f *testing.F) {
	keys := ring(f, "zero", "secret")
	sender := addr(f, "userx@test.ex")
	s, _ := Seal(keys, sender, now)
	o, _ := Origin(keys, Proof{SPF: Pass}, sender, now)
	for _, seed := range []string{s, o, s + s, s + o, "Backstop-Seal: v=1;k=1;t=1;h=", "Backstop-Origin: v=1; k=9; t=99999999999999; spf=; h=00", "Backstop-Seal:\n v=2;\n", "a\n b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		seals, origins := Values(header, SealName), Values(header, OriginName)
		if len(seals) > MaxFields+1 || len(origins) > MaxFields+1 {
			t.Fatal("too many")
		}
		got := VerifySeal(keys, seals, sender, now)
		gotO, p := VerifyOrigin(keys, origins, sender, now)
		for _, f := range []Finding{got, gotO} {
			if f.Standing == Unasked || f.Standing >= standings || f.Standing == Expired {
				t.Fatalf("%q: %+v", header, f)
			}
		}
		whole, low := squeeze(string(header)), ""
		low = strings.ToLower(whole)
		if got.Standing == Valid && !strings.Contains(low, strings.ToLower(squeeze(s))) || gotO.Standing == Valid && !strings.Contains(low, strings.ToLower(squeeze(o))) {
			t.Fatalf("%q: %+v %+v %+v", header, got, gotO, p)
		}
		// a reader of the standard library finds the same fields, where it can read the header at all
		h, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(bytes.TrimLeft(header, "\r\n"), "\n\n"...)))).ReadMIMEHeader()
		if err == nil && !bytes.ContainsAny(header, "\r\x00") && len(header) > 0 && header[0] != '\n' && len(header) < 500 && len(h.Values(SealName)) <= MaxFields && len(h.Values(SealName)) != len(seals) {
			t.Fatalf("%q: %d found, %d by the standard library", header, len(seals), len(h.Values(SealName)))
		}
	})
}
