package book

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// oddLocals are local parts with each sign that one may have.
var oddLocals = []string{
	"ann", "Ann.Lee", "o'neil", "x+y", "+x", "x+", "x++y", "-a", "a_b", "a=b", "a&b", "a{b}", "a`b", "a^b", "a|b", "a/b", "/a", "/a/", "~", "$a", "a$b", "a$|b", "$=w",
	"?a", "*a", "a*b", "#hash", "a#b", "a%b", "a!b", "müller", "Ünal", "李", `"a b"`, `"a\"b"`, `"a\\b"`, `"a@b"`, `"a@b.example"`, `"a,b"`, `"a(b"`, `"a:b"`, `"a;b"`,
	`"<x>"`, `"a..b"`, `".a"`, `"#q r"`, `"ok"`, `" "`, `"to:x"`, "0", strings.Repeat("l", 64),
}

// oddBook is each of them in several domains, and some hundred usual ones.
func oddBook(t *testing.T) *Book {
	t.Helper()
	b := New()
	for _, domain := range []string{"example.com", "sub.example.com", "example.org", "xn--bcher-kva.example"} {
		for _, l := range oddLocals {
			a, err := mail.ParseAddress(l + "@" + domain)
			if err != nil {
				t.Fatal(err)
			}
			b.Add(a)
		}
	}
	for i := range 300 {
		b.AddTo("example.com", fmt.Sprintf("user%d", i))
	}
	return b
}

func written(t *testing.T, f Format, b *Book) (string, Written) {
	t.Helper()
	var text strings.Builder
	w, err := Write(&text, f, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return text.String(), w
}

// TestPostmapFindsAll asks Postfix's own postmap for each address of an exported map, in
// the form in which Postfix asks: the key as it is compared. And for as many that are not in it.
func TestPostmapFindsAll(t *testing.T) {
	b := oddBook(t)
	text, w := written(t, Postfix, b)
	dir := mailtest.Dir(t)
	mailtest.WriteFile(t, dir, "main.cf", "compatibility_level = 3.6\n")
	file := mailtest.WriteFile(t, dir, "map", text)
	if out, status := rig.Run(t, "postmap", "-c", dir, "hash:"+file); status != 0 || out != "" {
		t.Fatalf("postmap: %s", out)
	}
	var keys strings.Builder
	want := map[string]bool{}
	for _, d := range b.Domains() {
		for _, l := range b.Of(d).Sorted() {
			fmt.Fprintf(&keys, "%s@%s\n%s@%s\n", l, d, "no-"+strings.Trim(l, `"`), d)
			want[l+"@"+d] = notInMap(l) == ""
		}
	}
	cmd := exec.CommandContext(t.Context(), mailtest.Need(t, "postmap"), "-c", dir, "-q", "-", "hash:"+file)
	cmd.Stdin = strings.NewReader(keys.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("postmap -q: %v", err)
	}
	found := 0
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !want[key] || value != "OK" {
			t.Errorf("postmap -q finds %q: %q", key, value)
		}
		delete(want, key)
		found++
	}
	for key, wanted := range want {
		if wanted {
			t.Errorf("postmap -q does not find %s", key)
		}
	}
	if found != w.Addresses {
		t.Errorf("found %d, written %d", found, w.Addresses)
	}
	t.Logf("%d of %d addresses written and found; left out: %+v", found, b.Len(), w.Left)
}

// TestSendmailTakesAll makes the access map with Sendmail's makemap and asks Sendmail's
// check_rcpt about each address: in a Sendmail that delivers the domains itself, and
// in one that only relays them.
func TestSendmailTakesAll(t *testing.T) {
	b := oddBook(t)
	pattern, err := mail.ParseAddress("sales+*@example.com")
	if err != nil {
		t.Fatal(err)
	}
	b.AddPattern(pattern)
	text, w := written(t, Access, b)
	for _, local := range [][]string{b.Domains(), nil} {
		m := rig.NewSendmail(t, rig.SendmailOptions{Access: text, Local: local})
		var questions []string
		var want []bool
		for _, d := range b.Domains() {
			for _, l := range b.Of(d).Sorted() {
				if notInAccess(l) == "" {
					questions, want = append(questions, "check_rcpt "+l+"@"+d), append(want, true)
				}
				if l[0] != '"' && l[0] < 0x80 {
					questions, want = append(questions, "check_rcpt no."+strings.Trim(l, ".")+"@"+d), append(want, false)
				}
			}
		}
		questions = append(questions, "check_rcpt sales+x@example.com", "check_rcpt sales@example.com", "check_rcpt sales2+x@example.com")
		want = append(want, true, false, false)
		taken, refused := 0, 0
		for i, answer := range m.Ask(questions...) {
			yes := strings.HasSuffix(strings.TrimSpace(answer), "returns: RELAY")
			no := strings.Contains(answer, "returns: $# error")
			switch {
			case yes:
				taken++
			case no:
				refused++
			}
			if yes != want[i] || yes == no {
				t.Errorf("%s: %s", questions[i], answer)
			}
		}
		if taken != w.Addresses+w.Patterns {
			t.Errorf("taken %d, written %d and %d patterns", taken, w.Addresses, w.Patterns)
		}
		t.Logf("local %v: %d of %d addresses written and taken, %d others refused; left out: %+v", local, taken, b.Len(), refused, w.Left)
	}
}

// TestSendmailLeavesOthers: where not everybody is named nobody else is refused, also where the domain above has a
// last line.
func TestSendmailLeavesOthers(t *testing.T) {
	b := New()
	for _, domain := range []string{"example.com", "sub.example.com", "example.org"} {
		b.AddTo(domain, "ann")
	}
	b.SetPartly("sub.example.com", "a reason")
	b.SetPartly("example.org", "a reason")
	text, _ := written(t, Access, b)
	if strings.Count(text, "ERROR") != 1 || strings.Count(text, "SKIP") != 1 {
		t.Error(text)
	}
	m := rig.NewSendmail(t, rig.SendmailOptions{Access: text, Local: b.Domains()})
	for i, answer := range m.Ask("check_rcpt no@example.com", "check_rcpt no@sub.example.com", "check_rcpt no@example.org", "check_rcpt ann@sub.example.com", "check_rcpt no@below.example.com") {
		if refused := strings.Contains(answer, "returns: $# error"); refused != (i == 0 || i == 4) {
			t.Errorf("%d: %s", i, answer)
		}
	}
}

// TestLeftForReason makes sure that what is left out would indeed not be found.
func TestLeftForReason(t *testing.T) {
	var text strings.Builder
	var questions []string
	for _, l := range oddLocals {
		if a, err := mail.ParseAddress(l); err == nil && notInAccess(a.LocalKey()) != "" && !a.NeedsUTF8() && !strings.Contains(a.LocalKey(), " ") {
			fmt.Fprintf(&text, "To:%s@example.com\tRELAY\n", a.LocalKey())
			questions = append(questions, "check_rcpt "+a.LocalKey()+"@example.com")
		}
	}
	text.WriteString("To:example.com\tERROR:5.1.1:\"550 User unknown\"\n")
	m := rig.NewSendmail(t, rig.SendmailOptions{Access: text.String(), Local: []string{"example.com"}})
	for i, answer := range m.Ask(questions...) {
		if strings.HasSuffix(strings.TrimSpace(answer), "returns: RELAY") {
			t.Errorf("%s is taken, so it need not be left out", questions[i])
		}
	}
}
