package srs_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"backstop/internal/mail"
	"backstop/internal/mailtest/rig"
	"backstop/internal/srs"
)

var secrets = []string{"first secret of ours", "an older one"}

func rewriter(t *testing.T, domain string, separator byte, digits int, secrets ...string) *srs.Rewriter {
	t.Helper()
	o := srs.Options{Domain: domain, Separator: separator, Digits: digits}
	for _, s := range secrets {
		o.Secrets = append(o.Secrets, []byte(s))
	}
	r, err := srs.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// some draws n senders, always the same ones: plain ones, and addresses of other forwarders.
func some(t *testing.T, n int) []mail.Address {
	t.Helper()
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789...!#$%&'*+-/=?^_`{|}~"
	random := rand.New(rand.NewPCG(4, 2027))
	word := func(most int) string {
		var b strings.Builder
		for range 1 + random.IntN(most) {
			b.WriteByte(letters[random.IntN(len(letters))])
		}
		return b.String()
	}
	host := func() string {
		return []string{"test.ex", "A.b.C.example.org", "xn--bcher-kva.ex", "m-1.example.com"}[random.IntN(4)]
	}
	var all []mail.Address
	for len(all) < n {
		var text string
		switch random.IntN(4) {
		case 0:
			text = "SRS0" + []string{"=", "+", "-"}[random.IntN(3)] + "aB3/=XY=" + host() + "=" + word(8) + "@" + host()
		case 1:
			text = "srs1" + []string{"=", "+", "-"}[random.IntN(3)] + "aB3/=" + host() + "==aaaa=XY=a.ex=" + word(4) + "@" + host()
		default:
			text = word(24) + "@" + host()
		}
		if a, err := mail.ParseAddress(text); err == nil {
			all = append(all, a)
		}
	}
	return all
}

// TestPostsrsd: postsrsd makes the addresses that we make and reverses ours, and we its.
func TestPostsrsd(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	made, reversed, forged, tooLong := 0, 0, 0, 0
	for i, tc := range []struct {
		separator byte
		digits    int
	}{{'=', 4}, {'+', 4}, {'-', 4}, {'=', 8}, {'+', 20}} {
		theirs := rig.StartPostsrsd(t, rig.PostsrsdOptions{Domain: "fwd.example", Secrets: secrets, Separator: tc.separator, Digits: tc.digits, At: now})
		ours := rewriter(t, "fwd.example", tc.separator, tc.digits, secrets...)
		for _, a := range some(t, 1500) {
			to, done := ours.Forward(a, now)
			want, ok := theirs.Forward(a.String())
			if done == srs.TooLong {
				if _, local, _ := strings.Cut(want, "@"); len(want)-len(local)-1 <= mail.MaxLocalPart {
					t.Errorf("%s has room, as %s", a, want)
				}
				its, err := mail.ParseAddress(want) // it is not made here, and understood
				if err != nil {
					t.Fatal(err)
				}
				if f := ours.Reverse(its, now); f.Standing != srs.Valid || !strings.EqualFold(f.Address.String(), a.String()) && !srs.Is(a) {
					t.Fatalf("%s: made by postsrsd of %s: %+v", its, a, f)
				}
				tooLong++
				continue
			}
			if !ok || done != srs.Forwarded || !strings.EqualFold(to.String(), want) {
				t.Fatalf("%s: postsrsd makes %s (%v), we %s (%v)", a, want, ok, to, done)
			}
			made++
			// theirs keeps the capitals of the domain; both must be understood on both sides
			its, err := mail.ParseAddress(want)
			if err != nil {
				t.Fatal(err)
			}
			for _, came := range []mail.Address{to, its} {
				back, ok := theirs.Reverse(came.String())
				f := ours.Reverse(came, now)
				if !ok || f.Standing != srs.Valid || f.Address.String() != back {
					t.Fatalf("%s: postsrsd reads %s (%v), we %+v", came, back, ok, f)
				}
				reversed++
			}
			changed := change(t, to, made+i)
			if back, ok := theirs.Reverse(changed.String()); ok != (ours.Reverse(changed, now).Standing == srs.Valid) {
				t.Fatalf("%s: postsrsd reads %s (%v), we %+v", changed, back, ok, ours.Reverse(changed, now))
			}
			forged++
			if text, ok := theirs.Forward(to.String()); ok {
				t.Errorf("%s is its own, and becomes %s", to, text)
			}
			if again, done := ours.Forward(to, now); done != srs.Own || again != to {
				t.Errorf("%s is our own, and becomes %s", to, again)
			}
		}
	}
	t.Logf("%d addresses made by both, %d reversed by both, %d changed ones judged alike; %d had no room, and theirs of them was understood", made, reversed, forged, tooLong)
}

// change changes one character between scheme and domain.
func change(t *testing.T, a mail.Address, n int) mail.Address {
	t.Helper()
	text := a.String()
	for ; ; n++ {
		at := 5 + n%(len(a.Local())-5)
		b, err := mail.ParseAddress(text[:at] + string("Ab2z/"[n%5]) + text[at+1:])
		if err == nil && b != a {
			return b
		}
	}
}

// TestPostsrsdSecrets: an address made with an older secret is still understood, one of a stranger is not.
func TestPostsrsdSecrets(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	theirs := rig.StartPostsrsd(t, rig.PostsrsdOptions{Domain: "fwd.example", Secrets: secrets, At: now})
	read := srs.Secrets([]byte(strings.Join(secrets, "\n") + "\n"))
	older, stranger := rewriter(t, "fwd.example", 0, 0, secrets[1]), rewriter(t, "fwd.example", 0, 0, "a stranger's")
	ours, err := srs.New(srs.Options{Secrets: read})
	if err != nil {
		t.Fatal(err)
	}
	judged := 0
	for _, a := range some(t, 500) {
		for _, by := range []*srs.Rewriter{older, stranger} {
			to, done := by.Forward(a, now)
			if done != srs.Forwarded {
				continue
			}
			_, ok := theirs.Reverse(to.String())
			if s := ours.Reverse(to, now).Standing; ok != (by == older) || (s == srs.Valid) != ok {
				t.Fatalf("%s: postsrsd %v, we %v", to, ok, s)
			}
			judged++
		}
	}
	t.Logf("%d addresses of an older secret and of a stranger's judged alike", judged)
}

// TestPostsrsdDays: addresses of every age, around the day on which the stamp begins anew (2028-11-16), are
// judged as postsrsd judges them.
func TestPostsrsdDays(t *testing.T) {
	const wrap = 21 * 1024 // the stamp is AA again
	plain, err := mail.ParseAddress("ann@example.org")
	if err != nil {
		t.Fatal(err)
	}
	ours := rewriter(t, "fwd.example", 0, 0, secrets...)
	judged := 0
	for day := wrap - 23; day <= wrap+23; day++ {
		now := time.Unix(int64(day)*86400+43200, 0)
		theirs := rig.StartPostsrsd(t, rig.PostsrsdOptions{Domain: "fwd.example", Secrets: secrets, At: now})
		to, _ := ours.Forward(plain, now)
		if want, ok := theirs.Forward(plain.String()); !ok || want != to.String() {
			t.Fatalf("day %d: postsrsd makes %s, we %s", day, want, to)
		}
		for age := -2; age <= 40; age++ {
			made, _ := ours.Forward(plain, now.AddDate(0, 0, -age))
			_, ok := theirs.Reverse(made.String())
			if s := ours.Reverse(made, now).Standing; ok != (s == srs.Valid) {
				t.Errorf("day %d, %s is %d days old: postsrsd %v, we %v", day, made, age, ok, s)
			}
			judged++
		}
	}
	t.Logf("%d addresses judged alike on 47 days", judged)
}
