package guide

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"backstop/internal/config"
)

// beside makes a configuration of these sections and one domain, whose users are in a directory that answers within 10s.
func beside(t *testing.T, sections, domain string) *config.Config {
	t.Helper()
	return parse(t, "state = \"\"\nhostname = \"mx.example.com\"\n"+sections+`
[source.corp]
type = "ldap"
url = "ldap://dc.example"
base = "dc=example"
[[domain]]
name = "one.example"
relay = "smtp://store.example"
recipients = ["corp"]
`+domain)
}

// lines are those of all steps for one file, without comments.
func lines(g Guide, file string) (all []string) {
	for _, s := range g.Steps {
		if s.File != file {
			continue
		}
		for _, l := range s.Lines {
			if !strings.HasPrefix(l, "#") && !strings.HasPrefix(l, "dnl #") {
				all = append(all, l)
			}
		}
	}
	return all
}

func TestPostfixLines(t *testing.T) {
	for _, c := range []struct {
		name, sections, domain, gateway, door string
		doors, want                           []string
		config, warning                       string
	}{
		{name: "nothing yet", doors: []string{"milter"}, config: "[milter]\nlisten = \"inet:127.0.0.1:8891\"\ninternal = [\"127.0.0.0/8\", \"::1\"]   # whose mail leaves: add your networks\n", want: []string{
			"smtpd_milters = { inet:127.0.0.1:8891, default_action=tempfail }", "non_smtpd_milters = $smtpd_milters", "internal_mail_filter_classes = bounce"}},
		{name: "milter alone does everything", sections: "[milter]\nlisten = \"inet:127.0.0.1:9000\"\n[policy]\nlisten = \"127.0.0.1:9001\"\n", domain: "batv = \"sign\"\n",
			doors: []string{"milter"}, warning: "add [socketmap] and run this again", want: []string{"smtpd_milters = { inet:127.0.0.1:9000, default_action=tempfail }", "non_smtpd_milters = $smtpd_milters", "internal_mail_filter_classes = bounce"}},
		{name: "milter and tags, past Postfix's own lists", sections: "[milter]\nlisten = \"inet:127.0.0.1:9000\"\n[socketmap]\nlisten = \"127.0.0.1:10041\"\n", domain: "batv = \"sign\"\n",
			doors: []string{"milter", "socketmap"}, want: []string{"smtpd_milters = { inet:127.0.0.1:9000, default_action=tempfail }", "non_smtpd_milters = $smtpd_milters", "internal_mail_filter_classes = bounce",
				"recipient_canonical_maps = socketmap:inet:127.0.0.1:10041:untag", "recipient_canonical_classes = envelope_recipient"}},
		{name: "the milter alone, and tags", sections: "[milter]\nlisten = \"inet:127.0.0.1:9000\"\n[socketmap]\nlisten = \"127.0.0.1:10041\"\n", domain: "batv = \"sign\"\n", door: "milter",
			doors: []string{"milter"}, warning: "leave --door out, for lines by which [socketmap] takes the tag off", want: []string{"smtpd_milters = { inet:127.0.0.1:9000, default_action=tempfail }", "non_smtpd_milters = $smtpd_milters", "internal_mail_filter_classes = bounce"}},
		{name: "doors that are not needed", sections: "[milter]\nlisten = \"inet:127.0.0.1:9000\"\n[policy]\nlisten = \"127.0.0.1:9001\"\n[socketmap]\nlisten = \"127.0.0.1:10041\"\n",
			doors: []string{"milter"}, warning: "[policy], [socketmap]: in the configuration too, and not in these lines, for the milter does all that is needed. They are printed with --door NAME.", want: []string{"smtpd_milters = { inet:127.0.0.1:9000, default_action=tempfail }", "non_smtpd_milters = $smtpd_milters", "internal_mail_filter_classes = bounce"}},
		{name: "a policy service that need not be plugged in", sections: "[policy]\nlisten = \"127.0.0.1:10040\"\n[socketmap]\nlisten = \"127.0.0.1:10041\"\n", domain: "batv = \"sign\"\nforged = \"refuse\"\n", door: "socketmap",
			doors: []string{"socketmap"}, warning: "who then gets a genuine tag", want: []string{
				"relay_recipient_maps = socketmap:inet:127.0.0.1:10041:recipients",
				"sender_canonical_maps = socketmap:inet:127.0.0.1:10041:sign", "sender_canonical_classes = envelope_sender",
				"recipient_canonical_maps = socketmap:inet:127.0.0.1:10041:untag", "recipient_canonical_classes = envelope_recipient"}},
		{name: "milter, IPv6", sections: "[milter]\nlisten = \"inet6:9000@::1\"\n", doors: []string{"milter"},
			want: []string{"smtpd_milters = { inet:[::1]:9000, default_action=tempfail }", "non_smtpd_milters = $smtpd_milters", "internal_mail_filter_classes = bounce"}},
		{name: "milter in the chroot", sections: "[milter]\nlisten = \"unix:/var/spool/postfix/backstop/milter.sock\"\n", doors: []string{"milter"},
			want:    []string{"smtpd_milters = { unix:backstop/milter.sock, default_action=tempfail }", "non_smtpd_milters = $smtpd_milters", "internal_mail_filter_classes = bounce"},
			warning: "The user postfix must be able to open the socket of [milter]"},
		{name: "milter outside of it", sections: "[milter]\nlisten = \"unix:/run/backstop/milter.sock\"\n", doors: []string{"milter"},
			want:    []string{"smtpd_milters = { unix:/run/backstop/milter.sock, default_action=tempfail }", "non_smtpd_milters = $smtpd_milters", "internal_mail_filter_classes = bounce"},
			warning: "/run/backstop/milter.sock is outside /var/spool/postfix/"},
		{name: "milter by systemd", sections: "[milter]\nlisten = \"systemd:milter\"\n", doors: []string{"milter"}, warning: "ListenStream=",
			want: []string{"smtpd_milters = { inet:127.0.0.1:8891, default_action=tempfail }", "non_smtpd_milters = $smtpd_milters", "internal_mail_filter_classes = bounce"}},
		{name: "milter, loopback is not among ours", sections: "[milter]\nlisten = \"inet:127.0.0.1:8891\"\ninternal = [\"10.0.0.0/8\"]\n", doors: []string{"milter"},
			want: []string{"smtpd_milters = { inet:127.0.0.1:8891, default_action=tempfail }", "non_smtpd_milters = $smtpd_milters", "internal_mail_filter_classes = bounce"}},
		{name: "milter on another machine", sections: "[milter]\nlisten = \"inet:0.0.0.0:8891\"\n", gateway: "10.0.0.5", doors: []string{"milter"},
			want: []string{"smtpd_milters = { inet:10.0.0.5:8891, default_action=tempfail }", "non_smtpd_milters = $smtpd_milters", "internal_mail_filter_classes = bounce"}},
		{name: "a slow source", sections: "[milter]\nlisten = \"inet:127.0.0.1:8891\"\n", domain: "[[domain]]\nname = \"two.example\"\nrelay = \"smtp://store.example\"\n", doors: []string{"milter"},
			want: []string{"smtpd_milters = { inet:127.0.0.1:8891, default_action=tempfail, command_timeout=60s }", "non_smtpd_milters = $smtpd_milters", "internal_mail_filter_classes = bounce"}},
		{name: "policy", sections: "[policy]\nlisten = \"127.0.0.1:10040\"\n", domain: "batv = \"sign\"\n", doors: []string{"policy"}, warning: "by the policy service nothing is tagged", want: []string{
			"smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination,", "    check_policy_service inet:127.0.0.1:10040"}},
		{name: "policy asked for", door: "policy", doors: []string{"policy"}, config: "[policy]\nlisten = \"127.0.0.1:10040\"\n", want: []string{
			"smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination,", "    check_policy_service inet:127.0.0.1:10040"}},
		{name: "a very slow source", sections: "[policy]\nlisten = \"127.0.0.1:10040\"\n[source.slow]\ntype = \"http\"\nurl = \"https://panel.example/\"\ntimeout = \"2m\"\n",
			domain: "[[domain]]\nname = \"two.example\"\nrelay = \"smtp://store.example\"\nrecipients = [\"slow\"]\n", doors: []string{"policy"}, want: []string{
				"smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination,", "    check_policy_service { inet:127.0.0.1:10040, timeout=150s }"}},
		{name: "socketmap", sections: "[socketmap]\nlisten = \"127.0.0.1:10041\"\n", doors: []string{"socketmap"}, warning: "every user of any other domain in relay_domains for good (550)",
			want: []string{"relay_recipient_maps = socketmap:inet:127.0.0.1:10041:recipients"}},
		{name: "socketmap and tags", sections: "[socketmap]\nlisten = \"127.0.0.1:10041\"\n", domain: "batv = \"sign\"\n", doors: []string{"socketmap"}, warning: "who then gets a genuine tag", want: []string{
			"relay_recipient_maps = socketmap:inet:127.0.0.1:10041:recipients",
			"sender_canonical_maps = socketmap:inet:127.0.0.1:10041:sign", "sender_canonical_classes = envelope_sender",
			"recipient_canonical_maps = socketmap:inet:127.0.0.1:10041:untag", "recipient_canonical_classes = envelope_recipient"}},
		{name: "tcp_table", sections: "[tcp_table]\nlisten = \"127.0.0.1:10042\"\n", doors: []string{"tcp_table"}, warning: "relay_recipient_maps = tcp:127.0.0.1:10042, hash:", want: []string{"relay_recipient_maps = tcp:127.0.0.1:10042"}},
		{name: "tcp_table that signs", sections: "[tcp_table]\nlisten = \"127.0.0.1:10042\"\nmap = \"sign\"\n", domain: "batv = \"sign\"\nforged = \"refuse\"\n", doors: []string{"tcp_table"}, warning: "who then gets a genuine tag",
			want: []string{"sender_canonical_maps = tcp:127.0.0.1:10042", "sender_canonical_classes = envelope_sender"}},
	} {
		g := made(t, "postfix", Place{Config: beside(t, c.sections, c.domain), Gateway: c.gateway, Door: c.door})
		if got := lines(g, "main.cf"); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
		if g.Config != c.config || !slices.Equal(g.Doors, c.doors) {
			t.Errorf("%s: doors %q, config %q", c.name, g.Doors, g.Config)
		}
		if warned := strings.Join(g.Warnings, "\n"); (warned == "") != (c.warning == "") || !strings.Contains(warned, c.warning) {
			t.Errorf("%s: warns %q, want %q", c.name, warned, c.warning)
		}
	}
}

// TestPolicyAndMaps: without a milter the policy service decides, and the maps tag; strangers are refused, so nothing is said of them.
func TestPolicyAndMaps(t *testing.T) {
	g := made(t, "postfix", Place{Config: beside(t, "[policy]\nlisten = \"127.0.0.1:10040\"\n[socketmap]\nlisten = \"127.0.0.1:10041\"\n", "batv = \"sign\"\nforged = \"refuse\"\n")})
	if got := lines(g, "main.cf"); len(got) != 7 || len(g.Warnings) != 1 || !strings.Contains(g.Warnings[0], "any other domain in relay_domains") || !slices.Equal(g.Doors, []string{"policy", "socketmap"}) {
		t.Errorf("%q %q %q", got, g.Warnings, g.Doors)
	}
}

func TestSendmailLines(t *testing.T) {
	for sections, want := range map[string]string{
		"": "INPUT_MAIL_FILTER(`backstop', `S=inet:8891@127.0.0.1, F=T, T=C:10s;S:30s;R:30s;E:5m')dnl",
		"[milter]\nlisten = \"inet6:8891@::1\"\n":                  "INPUT_MAIL_FILTER(`backstop', `S=inet6:8891@::1, F=T, T=C:10s;S:30s;R:30s;E:5m')dnl",
		"[milter]\nlisten = \"unix:/run/backstop/milter.sock\"\n":  "INPUT_MAIL_FILTER(`backstop', `S=local:/run/backstop/milter.sock, F=T, T=C:10s;S:30s;R:30s;E:5m')dnl",
		"[policy]\nlisten = \"127.0.0.1:10040\"\n":                 "INPUT_MAIL_FILTER(`backstop', `S=inet:8891@127.0.0.1, F=T, T=C:10s;S:30s;R:30s;E:5m')dnl",
		"[milter]\nlisten = \"inet:9@localhost\"\ninternal = []\n": "INPUT_MAIL_FILTER(`backstop', `S=inet:9@localhost, F=T, T=C:10s;S:30s;R:30s;E:5m')dnl",
	} {
		g := made(t, "sendmail", Place{Config: beside(t, sections, "")})
		if got := lines(g, "sendmail.mc"); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q", sections, got)
		}
		if needs := !strings.Contains(sections, "[milter]"); needs != (g.Config != "") {
			t.Errorf("%s: %q", sections, g.Config)
		}
		if warned := strings.Join(g.Warnings, "\n"); strings.Contains(sections, "internal = []") != strings.Contains(warned, "internal does not have") {
			t.Errorf("%s: %s", sections, warned)
		}
	}
}

// TestSendmailSigns: where mail is signed, long lines stay whole.
func TestSendmailSigns(t *testing.T) {
	c := beside(t, "", "")
	c.Domains[0].DKIM = []config.DKIMKey{{Selector: "s1"}}
	if n := len(lines(made(t, "sendmail", Place{Config: c}), "sendmail.mc")); n != 1 {
		t.Errorf("a key that only verifies: %d lines", n)
	}
	c.Domains[0].DKIM[0].Sign = true
	if got := strings.Join(lines(made(t, "sendmail", Place{Config: c}), "sendmail.mc"), "\n"); !strings.Contains(got, "define(`SMTP_MAILER_LL', `0')dnl\ndefine(`RELAY_MAILER_LL', `0')dnl") {
		t.Errorf("%s", got)
	}
}

func TestEximLines(t *testing.T) {
	g := made(t, "exim", Place{Config: beside(t, "[panel]\nlisten = \"127.0.0.1:8025\"\n[socketmap]\nlisten = \"unix:/run/backstop/maps\"\n", "batv = \"sign\"\n")})
	acl := strings.Join(lines(g, "exim: acl_check_rcpt"), "\n")
	for _, want := range []string{"${readsocket{inet:127.0.0.1:8025}", "{30s:shutdown=no}", "address64=${base64:${quote_local_part:$local_part}@$domain}", "\ndefer\n"} {
		if !strings.Contains(acl, want) {
			t.Errorf("no %s in\n%s", want, acl)
		}
	}
	macros := strings.Join(lines(g, "exim: macros"), "\n")
	if !strings.Contains(macros, "CHECK_RCPT_LOCAL_ACL_FILE = ") || !strings.Contains(macros, "${readsocket{/run/backstop/maps}{${strlen:sign $return_path}:sign $return_path,}{10s}{}}") {
		t.Error(macros)
	}
	if len(lines(g, "exim: routers")) != 5 || g.Config != "" || !slices.Equal(g.Doors, []string{"panel", "socketmap"}) {
		t.Errorf("%+v", g)
	}
	g = made(t, "exim", Place{Config: beside(t, "[policy]\nlisten = \"127.0.0.1:10040\"\n", ""), Gateway: "2001:db8::25"})
	if want := "[panel]\nlisten = \"[2001:db8::25]:8025\"\nlookup_clients = [\"192.0.2.30\"]   # the address of Exim\n"; g.Config != want {
		t.Errorf("%s", g.Config)
	}
}

// TestWhatAllHave: each guide's configuration is a good one, alone or behind the one that it was made for, and its text
// keeps to 80 columns, but for what is to be pasted.
func TestWhatAllHave(t *testing.T) {
	for _, product := range Beside() {
		for _, p := range []Place{{}, {Domain: "other.example", Gateway: "10.0.0.5"}} {
			g := made(t, product, p)
			if c := parse(t, "state = \"\"\n"+g.Config); len(c.SMTP.Listen) > 0 || !g.Example || len(c.Domains) != 1 {
				t.Errorf("%s: Backstop takes port 25:\n%s", product, g.Config)
			}
			pasted := map[string]bool{}
			for _, s := range g.Steps {
				if (len(s.Lines) > 0) != (s.File != "") {
					t.Errorf("%s: %+v", product, s)
				}
				for _, l := range s.Lines {
					pasted[l] = true
				}
			}
			for line := range strings.Lines(g.Text()) {
				line = strings.TrimSuffix(line, "\n")
				if n := len([]rune(line)); n > width && !pasted[line] && !strings.Contains(line, "postconf -n |") {
					t.Errorf("%s: a line of %d characters: %s", product, n, line)
				}
				delete(pasted, line)
			}
			if len(pasted) > 0 {
				t.Errorf("%s: not in the text as they are: %v", product, pasted)
			}
		}
	}
}

// TestPagesSayTheSame holds the pages about MTAs to the guides of an example.
func TestPagesSayTheSame(t *testing.T) {
	for _, product := range Beside() {
		b, err := os.ReadFile("../../docs/" + product + ".md")
		if err != nil {
			t.Fatal(err)
		}
		g := made(t, product, Place{})
		for _, s := range g.Steps {
			if block := strings.Join(s.Lines, "\n"); block != "" && !strings.Contains(string(b), "```\n"+block+"\n```") {
				t.Errorf("docs/%s.md has not these lines:\n%s", product, block)
			}
		}
		if !strings.Contains(string(b), "```toml\n"+g.Config+"```") {
			t.Errorf("docs/%s.md has not this configuration:\n%s", product, g.Config)
		}
	}
}

func TestMTAMistakes(t *testing.T) {
	milter := beside(t, "[milter]\nlisten = \"inet:127.0.0.1:8891\"\n", "")
	socket := beside(t, "[milter]\nlisten = \"unix:/run/backstop/milter.sock\"\n[tcp_table]\nlisten = \"unix:/run/backstop/table\"\n", "")
	for _, c := range []struct {
		product    string
		p          Place
		want, hint string
	}{
		{"postfix", Place{Door: "panel"}, `Postfix does not ask at a door "panel"`, "it can be plugged into milter, policy, socketmap, tcp_table"},
		{"sendmail", Place{Door: "policy"}, `Sendmail does not ask at a door "policy"`, "it can be plugged into milter"},
		{"exim", Place{Door: "milter"}, `Exim does not ask at a door "milter"`, "it can be plugged into panel"},
		{"postfix", Place{Config: milter, Gateway: "10.0.0.5"}, "[milter] listens on 127.0.0.1:8891, which reaches no other machine", "let it listen on 10.0.0.5:8891, or leave --gateway out"},
		{"postfix", Place{Config: socket, Gateway: "10.0.0.5"}, "[milter] listens on a unix socket, which Postfix on another machine cannot reach", "leave --gateway out, or let it listen on 10.0.0.5:8891"},
		{"postfix", Place{Config: socket, Door: "tcp_table"}, "Postfix's tcp_table knows no unix sockets", `give [tcp_table] an address, such as listen = "127.0.0.1:10042"`},
		{"exim", Place{Config: milter, Domain: "two.example"}, "two.example is not a domain of backstop.toml", ""},
	} {
		_, err := For(c.product, c.p)
		if err == nil || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
			continue
		}
		var h interface{ Hint() string }
		if errors.As(err, &h) != (c.hint != "") || c.hint != "" && h.Hint() != c.hint {
			t.Errorf("%v: hint %v", err, h)
		}
	}
}

func TestMTAWarnings(t *testing.T) {
	circle := parse(t, "state = \"\"\n[smtp]\nlisten = [\"192.0.2.25:25\"]\n[milter]\nlisten = \"inet:127.0.0.1:8891\"\n[[domain]]\nname = \"one.example\"\nrelay = \"smtp://127.0.0.1\"\n")
	if w := strings.Join(made(t, "postfix", Place{Config: circle}).Warnings, "\n"); !strings.Contains(w, "one.example asks smtp://127.0.0.1:25 who exists") || !strings.Contains(w, "[smtp] listens on 192.0.2.25:25") {
		t.Error(w)
	}
	for relay, circular := range map[string]bool{"mx.example.com": true, "192.0.2.7": true, "[2001:db8::7]": true, "192.0.2.8": false, "mx.example.com:2525": false, "store.example": false} {
		c := parse(t, "state = \"\"\nhostname = \"mx.example.com\"\n[milter]\nlisten = \"inet:127.0.0.1:8891\"\n[[domain]]\nname = \"one.example\"\nrelay = \"smtp://"+relay+"\"\n")
		g := made(t, "postfix", Place{Config: c, Local: []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}})
		if w := strings.Join(g.Warnings, "\n"); strings.Contains(w, "each asks the other") != circular {
			t.Errorf("%s: %s", relay, w)
		}
	}
}

// TestSockets: what a unix socket needs, and no more.
func TestSockets(t *testing.T) {
	for mode, open := range map[string]bool{"": false, "?mode=0600": false, "?mode=0660": false, "?mode=0666": true} {
		c := beside(t, "[milter]\nlisten = \"unix:/var/spool/postfix/backstop/milter.sock"+mode+"\"\n", "")
		g := made(t, "postfix", Place{Config: c})
		w := strings.Join(g.Warnings, "\n")
		if !strings.Contains(w, "ReadWritePaths=/var/spool/postfix/backstop alone") || strings.Contains(w, "The user postfix must be able") == open {
			t.Errorf("%s: %s", mode, w)
		}
		if !slices.Equal(g.Unix, []string{"milter"}) {
			t.Errorf("%q", g.Unix)
		}
	}
}

// TestWhoMayAsk: verify looks at all doors that there are, or at the one that is named.
func TestWhoMayAsk(t *testing.T) {
	all := beside(t, "[milter]\nlisten = \"inet:127.0.0.1:9000\"\n[policy]\nlisten = \"127.0.0.1:9001\"\n[socketmap]\nlisten = \"unix:/run/backstop/maps\"\n[panel]\nlisten = \"127.0.0.1:8025\"\n", "batv = \"sign\"\n")
	for _, c := range []struct{ product, door, asks, unix string }{
		{"postfix", "", "milter policy socketmap", "socketmap"}, {"postfix", "policy", "policy", ""}, {"postfix", "socketmap", "socketmap", "socketmap"}, {"sendmail", "", "milter", ""}, {"exim", "", "panel", ""},
	} {
		g := made(t, c.product, Place{Config: all, Door: c.door})
		if strings.Join(g.Asks, " ") != c.asks || strings.Join(g.Unix, " ") != c.unix {
			t.Errorf("%s %s: %q, %q", c.product, c.door, g.Asks, g.Unix)
		}
	}
	if g := made(t, "postfix", Place{Config: beside(t, "", "")}); !slices.Equal(g.Asks, []string{"milter"}) {
		t.Errorf("nothing yet: %q", g.Asks)
	}
}

// TestWhatStaysAsItWas: which domains are covered, and whose mail leaves.
func TestWhatStaysAsItWas(t *testing.T) {
	for product, want := range map[string]string{"postfix": "Networks in mynetworks besides this machine belong into internal of [milter]", "sendmail": "Networks that may relay besides this machine belong into internal of [milter]"} {
		g := made(t, product, Place{Config: beside(t, "", "aliases = [\"uno.example\"]\n")})
		text := ""
		for _, s := range g.Steps {
			text += s.Text
		}
		if !strings.Contains(text, want) || !strings.Contains(text, "Backstop covers one.example, uno.example: every other domain") {
			t.Errorf("%s: %s", product, text)
		}
	}
	if l := lines(made(t, "sendmail", Place{Config: beside(t, "", "batv = \"sign\"\n")}), "sendmail.mc"); len(l) != 5 || l[4] != "R$+ < @ $=w . >\t$: $(untag $1 $) < @ $2 . >" {
		t.Errorf("%q", l)
	}
}

// TestCommandsNameTheFile: what is to be typed has the --config that was used.
func TestCommandsNameTheFile(t *testing.T) {
	for _, product := range Products() {
		g := made(t, product, Place{Config: beside(t, "", ""), Options: " --config my.toml"})
		for _, s := range append(g.Steps, g.Tests...) {
			for _, c := range s.Commands {
				if strings.HasPrefix(c, "backstop ") && !strings.HasSuffix(c, " --config my.toml") {
					t.Errorf("%s: %s", product, c)
				}
			}
		}
		if g.beside && !strings.Contains(g.Text(), "`backstop check --config my.toml`") {
			t.Errorf("%s", g.Text())
		}
	}
}

// TestEximWithoutADoor: a configuration that has [panel], and nothing that takes port 25 away from Backstop.
func TestEximWithoutADoor(t *testing.T) {
	c := beside(t, "[panel]\nlisten = \"127.0.0.1:8025\"\n", "")
	if g := made(t, "exim", Place{Config: c, Doorless: true}); g.Config != "[smtp]\nlisten = []   # Exim has port 25\n" || len(g.Warnings) != 0 {
		t.Errorf("%q %q", g.Config, g.Warnings)
	}
}

// TestTagsForAnybody: a map that takes tags off would let everybody past Postfix's own list.
func TestTagsForAnybody(t *testing.T) {
	c := parse(t, "state = \"\"\n[milter]\nlisten = \"inet:127.0.0.1:9000\"\n[socketmap]\nlisten = \"127.0.0.1:10041\"\n[[domain]]\nname = \"one.example\"\nrecipients = [\"anybody\"]\nbatv = \"sign\"\n")
	g := made(t, "postfix", Place{Config: c})
	if w := strings.Join(g.Warnings, "\n"); strings.Contains(g.Text(), "recipient_canonical_maps") || !strings.Contains(w, `the recipients of one.example are "anybody": name a source`) {
		t.Errorf("%s", g.Text())
	}
}
