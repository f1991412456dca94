package access

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// siteMap has every form of a Postfix map.
const siteMap = `# relay recipients
ann@example.com		x
   # a comment between a record and its continuation

Bob@Example.COM		OK
carl@example.com	REJECT
dave@example.com	a value that goes on
	in the next line
	eve@example.com is still part of the value
fred+x@example.com	x
gina@example.org	x
hal			x
ian+y			x
"jan@example.com"	x
"kim kay"@example.com	x
@wild.test		x
lee@wild.test		x
first.last@example.org	x
lone.name		x
UPPER@WILD2.test	x
mia_@sub.example.com	anything
`

var (
	mapLocals  = []string{"ann", "Bob", "carl", "dave", "eve", "fred", "gina", "hal", "ian", "jan", `"kim kay"`, "lee", "first.last", "lone.name", "upper", "mia_", "nobody"}
	mapDetails = []string{"", "+x", "+y", "+a+b"}
	mapDomains = []string{"example.com", "example.org", "wild.test", "sub.wild.test", "wild2.test", "sub.example.com"}
)

// asked is every local part with every extension in every domain.
func asked() (all []mail.Address) {
	for _, d := range mapDomains {
		for _, l := range mapLocals {
			for _, x := range mapDetails {
				if l[0] == '"' && x != "" {
					continue // an extension inside quotes is none to us
				}
				a, err := mail.ParseAddress(l + x + "@" + d)
				if err != nil {
					panic(err)
				}
				all = append(all, a)
			}
		}
	}
	return all
}

// standings asks the whole way, so that extensions are looked up as in the product.
func standings(t *testing.T, text string, all []mail.Address) []evidence.Standing {
	t.Helper()
	s := open(t, Postmap, text, Options{NoEvents: true})
	d := directory.New(directory.Config{})
	t.Cleanup(func() { d.Close() })
	chain := directory.NewChain("example.com", directory.Member{Source: s})
	out := make([]evidence.Standing, len(all))
	for i, a := range all {
		out[i] = d.Lookup(t.Context(), chain, directory.Query{Address: a, Subaddress: "+"}).Standing
	}
	return out
}

// TestMapBesidePostmap asks `postmap -q` for each key that Postfix would try, in the order
// of mail_addr_find(3): user+ext@domain, user@domain, user+ext, user, @domain.
func TestMapBesidePostmap(t *testing.T) {
	all := asked()
	ours := standings(t, siteMap, all)
	dir := mailtest.Dir(t)
	mailtest.WriteFile(t, dir, "main.cf", "compatibility_level = 3.6\n")
	file := mailtest.WriteFile(t, dir, "map", siteMap)
	if out, status := rig.Run(t, "postmap", "-c", dir, "hash:"+file); status != 0 {
		t.Fatalf("postmap: %s", out)
	}
	var keys strings.Builder
	for _, a := range all {
		for _, k := range tried(a) {
			keys.WriteString(k + "\n")
		}
	}
	cmd := exec.CommandContext(t.Context(), mailtest.Need(t, "postmap"), "-c", dir, "-q", "-", "hash:"+file)
	cmd.Stdin = strings.NewReader(keys.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("postmap -q: %v", err)
	}
	found := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		key, _, _ := strings.Cut(line, "\t")
		found[key] = true
	}
	count := map[evidence.Standing]int{}
	for i, a := range all {
		want := evidence.Missing
		for _, k := range tried(a) {
			if found[k] {
				want = evidence.Exists
			}
		}
		if ours[i] != want {
			t.Errorf("%s: %v, by postmap -q %v", a, ours[i], want)
		}
		count[ours[i]]++
	}
	t.Logf("%d addresses, %d keys asked: %v, all as postmap -q has them", len(all), strings.Count(keys.String(), "\n"), count)
}

func tried(a mail.Address) []string {
	base := a.Base("+")
	return []string{a.String(), base.String(), a.Local(), base.Local(), "@" + a.Domain()}
}

// TestMapBesideSMTPD asks a Postfix at RCPT, with the map as local_recipient_maps for
// example.com and as relay_recipient_maps for all other domains. The one difference, on
// purpose: a local part alone counts in every domain here, and there in local domains only.
func TestMapBesideSMTPD(t *testing.T) {
	all := asked()
	ours := standings(t, siteMap, all)
	alone := map[string]bool{"hal": true, "ian+y": true, "lone.name": true}
	file := mailtest.WriteFile(t, mailtest.Dir(t), "map", siteMap)
	p := rig.StartPostfix(t, rig.PostfixOptions{Main: map[string]string{
		"mydestination": "example.com", "local_recipient_maps": "texthash:" + file, "alias_maps": "",
		"relay_domains": strings.Join(mapDomains[1:], " "), "relay_recipient_maps": "texthash:" + file,
		"parent_domain_matches_subdomains": "", "recipient_delimiter": "+",
		"smtpd_error_sleep_time": "0", "smtpd_hard_error_limit": "10000", "smtpd_recipient_limit": "10000",
	}})
	k := mailtest.Dial(t, p.Addr)
	defer k.Close()
	k.Expect(t, "220", "greeting")
	k.Ask(t, "EHLO client.test")
	k.Ask(t, "MAIL FROM:<>")
	differ := 0
	for i, a := range all {
		reply := k.Ask(t, fmt.Sprintf("RCPT TO:<%s>", a))
		there := evidence.Exists
		switch reply.Code {
		case 250:
		case 550:
			there = evidence.Missing
		default:
			t.Fatalf("%s: %s", a, reply)
		}
		if ours[i] == there {
			continue
		}
		base := a.Base("+")
		if a.Domain() == "example.com" || !alone[a.LocalKey()] && !alone[base.LocalKey()] || ours[i] != evidence.Exists {
			t.Errorf("%s: %v, Postfix says %s", a, ours[i], reply)
		}
		differ++
	}
	t.Logf("%d addresses as Postfix answers them at RCPT, but %d in relay domains with a local part that stands alone in the map", len(all)-differ, differ)
}
