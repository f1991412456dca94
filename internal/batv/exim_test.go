package batv_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"backstop/internal/batv"
	"backstop/internal/keyring"
	"backstop/internal/mail"
	"backstop/internal/mailtest/rig"
)

const secret = `s3cret, with {braces} $and \more`

func keys(t *testing.T, id keyring.ID) keyring.Ring {
	t.Helper()
	r, err := keyring.New(keyring.Key{ID: id, Secret: keyring.Secret(secret), SignsFrom: time.Unix(86400, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// some draws n different addresses whose local parts have these letters; always the same ones.
func some(t *testing.T, n int, letters string) []mail.Address {
	t.Helper()
	random := rand.New(rand.NewPCG(4, 2027))
	seen := map[string]bool{}
	var all []mail.Address
	for len(all) < n {
		var b strings.Builder
		for range 1 + random.IntN(40) {
			b.WriteByte(letters[random.IntN(len(letters))])
		}
		b.WriteString("@" + []string{"test.ex", "a.b.c.example.org", "xn--bcher-kva.example", "mail-1.example.com"}[random.IntN(4)])
		a, err := mail.ParseAddress(b.String())
		if err == nil && !seen[b.String()] {
			seen[b.String()] = true
			all = append(all, a)
		}
	}
	return all
}

const folded = "abcdefghijklmnopqrstuvwxyz0123456789...!#$%&'*+-/=?^_`{|}~"

func prvs(address string, id keyring.ID) string {
	return "${prvs{" + rig.EximQuote(address) + "}{" + rig.EximQuote(secret) + "}{" + id.String() + "}}"
}

// prvscheck prints "1 ADDRESS" for a tag that Exim takes.
func prvscheck(address string) string {
	return "${prvscheck{" + address + "}{" + rig.EximQuote(secret) + "}{$prvscheck_result $prvscheck_address}}"
}

// TestExim: Exim makes the same tags, takes ours, and we take its. (It minds the case of the
// digits, and not that of the scheme.)
func TestExim(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	all := some(t, 4000, folded)
	var ask []string
	var ours []mail.Address
	for i, a := range all {
		id := keyring.ID(i % keyring.IDs)
		tagged, s := batv.Sign(keys(t, id), a, now)
		if s != batv.Signed {
			t.Fatalf("%s: %v", a, s)
		}
		ours = append(ours, tagged)
		ask = append(ask, prvs(a.String(), id), prvscheck(rig.EximQuote(tagged.String())), prvscheck(rig.EximQuote("PRVS"+tagged.String()[4:])))
	}
	answers := rig.EximExpand(t, now, ask...)
	for i, a := range all {
		if answers[3*i] != ours[i].String() {
			t.Errorf("%s: exim makes %s, we %s", a, answers[3*i], ours[i])
		}
		if want := "1 " + a.String(); answers[3*i+1] != want || answers[3*i+2] != want {
			t.Errorf("%s: exim says %q and %q", ours[i], answers[3*i+1], answers[3*i+2])
		}
		theirs, err := mail.ParseAddress(answers[3*i])
		if err != nil {
			t.Fatal(err)
		}
		if f := batv.Verify(keys(t, keyring.ID(i%keyring.IDs)), theirs, now); f.Standing != batv.Valid || f.Address != a {
			t.Errorf("exim makes %s: %+v", theirs, f)
		}
	}
	t.Logf("%d addresses signed by both, %d tags checked by exim, %d by us", len(all), 2*len(all), len(all))
}

// TestEximCase: Exim signs an address as it is written, and we take that; ours it takes in lower case.
func TestEximCase(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	all := some(t, 1000, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"+folded)
	var ask []string
	for _, a := range all {
		tagged, _ := batv.Sign(keys(t, 0), a, now)
		ask = append(ask, prvs(a.String(), 0), prvscheck("${lc:"+rig.EximQuote(tagged.String())+"}"))
	}
	for i, answers := 0, rig.EximExpand(t, now, ask...); i < len(all); i++ {
		theirs, err := mail.ParseAddress(answers[2*i])
		if err != nil {
			t.Fatal(err)
		}
		if f := batv.Verify(keys(t, 0), theirs, now); f.Standing != batv.Valid || f.Address != all[i] {
			t.Errorf("exim makes %s: %+v", theirs, f)
		}
		if answers[2*i+1] != "1 "+all[i].Key() {
			t.Errorf("our tag for %s: exim says %q", all[i], answers[2*i+1])
		}
	}
	t.Logf("%d addresses in both cases, both ways", len(all))
}

// TestEximQuoted: Exim writes a tag before the quotes, where it may not stand; the tag is the same.
func TestEximQuoted(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var all []mail.Address
	var ask []string
	for i := range 300 {
		a, err := mail.ParseAddress(fmt.Sprintf(`"%c b %d%c"@test.ex`, 'a'+i%26, i, "(),:;<>@[]."[i%11]))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
		ask = append(ask, prvs(a.Key(), 7))
	}
	for i, answer := range rig.EximExpand(t, now, ask...) {
		tagged, s := batv.Sign(keys(t, 7), all[i], now)
		want := `"` + strings.Replace(answer, `"`, "", 1)
		if s != batv.Signed || tagged.String() != want {
			t.Errorf("%s: %s (%v), exim has %s", all[i], tagged, s, answer)
		}
	}
}

// TestEximForged: what is refused here Exim refuses too.
func TestEximForged(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var ask []string
	for i, a := range some(t, 100, folded) {
		tagged, _ := batv.Sign(keys(t, 0), a, now)
		text := tagged.String()
		for at := len("prvs=0"); at < len("prvs=0DDDSSSSSS"); at++ {
			other := "0123456789"[(int(text[at])+i+1)%10]
			if other == text[at] {
				other = "1234567890"[(int(text[at])+i+1)%10]
			}
			changed, err := mail.ParseAddress(text[:at] + string(other) + text[at+1:])
			if err != nil {
				t.Fatal(err)
			}
			if f := batv.Verify(keys(t, 0), changed, now); f.Standing != batv.Forged {
				t.Errorf("%s instead of %s: %v", changed, text, f.Standing)
			}
			ask = append(ask, prvscheck(rig.EximQuote(changed.String())))
		}
	}
	for i, answer := range rig.EximExpand(t, now, ask...) {
		if strings.HasPrefix(answer, "1") {
			t.Errorf("exim takes it: %s", ask[i])
		}
	}
	t.Logf("%d forged tags refused by both", len(ask))
}

// TestEximWrap asks Exim on every day around the next wrap of the modulus: it makes the tags that we make, and
// takes every one that we take. It also takes old ones, which we do not.
func TestEximWrap(t *testing.T) {
	all := some(t, 12, folded)
	ring := keys(t, 3)
	wrap := time.Date(2027, 7, 1, 12, 0, 0, 0, time.UTC)
	signed, taken, tooOld := 0, 0, 0
	for day := -12; day <= 12; day++ {
		now := wrap.AddDate(0, 0, day)
		var ask []string
		var made []mail.Address
		for i, a := range all {
			tagged, _ := batv.Sign(ring, a, now.AddDate(0, 0, -i)) // i days ago
			made = append(made, tagged)
			ask = append(ask, prvs(a.String(), 3), prvscheck(rig.EximQuote(tagged.String())))
		}
		answers := rig.EximExpand(t, now, ask...)
		for i, a := range all {
			today, _ := batv.Sign(ring, a, now)
			if answers[2*i] != today.String() {
				t.Errorf("%v: exim makes %s, we %s", now, answers[2*i], today)
			}
			signed++
			want := batv.Valid
			if i > batv.LifetimeDays {
				want = batv.Expired
			}
			f := batv.Verify(ring, made[i], now)
			exim := answers[2*i+1] == "1 "+a.String()
			if f.Standing != want || want == batv.Valid && !exim {
				t.Errorf("%v: %s, %d days old: %v here, exim says %q", now, made[i], i, f.Standing, answers[2*i+1])
			}
			switch {
			case want == batv.Valid:
				taken++
			case exim:
				tooOld++
			}
		}
	}
	t.Logf("%d tags made by both; %d taken by both, %d too old for us and not for exim", signed, taken, tooOld)
}
