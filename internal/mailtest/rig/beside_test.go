package rig

import (
	"net"
	"slices"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// say plays MAIL and the RCPTs, and returns their replies.
func say(t testing.TB, k *mailtest.Talk, from string, to ...string) []string {
	t.Helper()
	k.Expect(t, "220", "banner")
	k.Ask(t, "EHLO x.test")
	replies := []string{k.Ask(t, "MAIL FROM:<"+from+">").String()}
	for _, a := range to {
		replies = append(replies, k.Ask(t, "RCPT TO:<"+a+">").String())
	}
	return replies
}

func begins(t testing.TB, got []string, want ...string) {
	t.Helper()
	for i, w := range want {
		if i >= len(got) || !strings.HasPrefix(got[i], w) {
			t.Fatalf("replies %q, want %q", got, want)
		}
	}
}

// TestBeside shows what each does alone: it lets Inside send to everybody, takes mail for its domains from strangers,
// whoever it is for, and writes bounces to the world.
func TestBeside(t *testing.T) {
	for _, kind := range BesideKinds() {
		t.Run(kind, func(t *testing.T) {
			b := OpenBeside(t, kind, Pasted{})
			defer func() {
				if t.Failed() {
					t.Log(b.Log())
				}
			}()
			k := b.Dial(t, Outside)
			got := say(t, k, "ann@client.test", "alice@"+Domain, "nobody@"+Domain, "bob@"+OtherDomain, `"john q public"@`+Domain, "dora@elsewhere.test")
			begins(t, got, "250", "250", "250", "250", "250", "55")
			k.Ask(t, "DATA")
			begins(t, []string{k.Ask(t, "Message-ID: <1@client.test>\r\nSubject: x\r\n\r\nlow \xe9\r\n.").String()}, "250")
			k = b.Dial(t, Inside)
			begins(t, say(t, k, "alice@"+Domain, "dora@elsewhere.test"), "250", "250")
			k.Ask(t, "DATA")
			begins(t, []string{k.Ask(t, "Subject: x\r\n\r\nx\r\n.").String()}, "250")
			b.Settle(t)
			var out []string
			for _, m := range b.World.Messages() {
				out = append(out, m.From+" to "+m.To[0].Path)
			}
			if len(out) != 2 || strings.Join(out, "; ") != " to ann@client.test; alice@example.com to dora@elsewhere.test" && strings.Join(out, "; ") != "alice@example.com to dora@elsewhere.test;  to ann@client.test" {
				t.Errorf("left: %q", out)
			}
			kept := 0
			for _, m := range b.Store.Messages() {
				kept += len(m.To)
				if !strings.Contains(string(m.Body), "low \xe9") {
					t.Errorf("stored: %v", m)
				}
			}
			if kept != 3 {
				t.Errorf("stored: %v", b.Store.Messages())
			}
			b.Store.Forget()
			k = b.Dial(t, Outside)
			begins(t, say(t, k, "", "postmaster", "nobody@"+Domain), "250", "250", "250")
			k.Ask(t, "DATA")
			begins(t, []string{k.Ask(t, "Subject: x\r\n\r\nx\r\n.").String()}, "250")
			b.Settle(t)
			if got := b.Store.Messages(); len(got) != 1 || len(got[0].To) != 1 || got[0].To[0].Path != "postmaster@"+Domain {
				t.Errorf("for the postmaster: %v", got)
			}
			b.Stop()
			if nc, err := net.Dial("tcp", b.Addr); err == nil {
				nc.Close()
				t.Error("stopped, and still there")
			}
			b.Start()
			begins(t, say(t, b.Dial(t, Outside), "ann@client.test", "alice@"+Domain), "250", "250")
		})
	}
}

// TestBesidePasted shows that what is pasted counts, at each place.
func TestBesidePasted(t *testing.T) {
	who := newDirectory(t, []string{"alice"})
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	nobody := port(gone.Addr().String())
	ask := `  warn    set acl_m_key = recipients $local_part@$domain
          set acl_m_who = ${readsocket{inet:` + who.addr + `}{${strlen:$acl_m_key}:$acl_m_key,}{WAIT}{}{}}
  deny    condition = ${if match{$acl_m_who}{NOTFOUND}}
          message = 550 5.1.1 no such user
`
	cases := map[string]struct {
		kind string
		p    Pasted
		want []string // of MAIL, RCPT for alice, RCPT for nobody
	}{
		"main.cf": {"postfix", Pasted{Main: "# Who exists\nrelay_recipient_maps =\n  " + who.table() + "\nmynetworks = 192.0.2.0/24"}, []string{"250", "250", "550 5.1.1"}},
		// A service that is given once more is given anew.
		"master.cf": {"postfix", Pasted{Main: "relay_recipient_maps = proxy:" + who.table() + "\nproxy_read_maps = proxy:unix:passwd.byname proxy:" + who.table(),
			Master: "proxymap  unix  -  -  n  -  -  proxymap\n  -o syslog_name=pasted\n"}, []string{"250", "250", "550 5.1.1"}},
		"mc":   {"sendmail", Pasted{MC: "INPUT_MAIL_FILTER(`x', `S=inet:" + nobody + "@127.0.0.1, F=T')dnl"}, []string{"451 4.3.2"}},
		"cf":   {"sendmail", Pasted{CF: "Xx, S=inet:" + nobody + "@127.0.0.1, F=T\nO InputMailFilters=x"}, []string{"451 4.3.2"}},
		"exim": {"exim", Pasted{EximMain: "WAIT = 5s", EximRcpt: ask, EximData: "  deny message = 550 5.6.0 not today", EximRouters: "other:\n  driver = redirect\n  data = :blackhole:"}, []string{"250", "250", "550 5.1.1"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := OpenBeside(t, c.kind, c.p)
			k := b.Dial(t, Outside)
			got := say(t, k, "ann@client.test", "alice@"+Domain, "nobody@"+Domain)
			begins(t, got, c.want...)
			if c.p.EximData != "" {
				k.Ask(t, "DATA")
				begins(t, []string{k.Ask(t, "Subject: x\r\n\r\nx\r\n.").String()}, "550 5.6.0")
			}
		})
	}
}

// TestBesideDialogues shows that dialogues can be played, and that none of them adds to a message or takes from it.
func TestBesideDialogues(t *testing.T) {
	var kinds []Kind
	for _, kind := range BesideKinds() {
		kinds = append(kinds, Kind{kind, func(t testing.TB) *Peer { return OpenBeside(t, kind, Pasted{}).Peer() }})
	}
	some := slices.DeleteFunc(Dialogues(t, "conversation"), func(d *mailtest.Dialogue) bool {
		return !slices.Contains([]string{"body-dots", "body-eight-bit", "begun-again"}, d.Name)
	})
	PlayAll(t, some, kinds, nil)
}

// TestPostfixLogins shows that who has logged in may send to everybody, by AUTH or by XCLIENT.
func TestPostfixLogins(t *testing.T) {
	b := OpenBeside(t, "postfix", Pasted{})
	k := b.Dial(t, Outside)
	k.Expect(t, "220", "banner")
	k.Ask(t, "EHLO x.test")
	begins(t, []string{k.Ask(t, "AUTH PLAIN AGpvZQB3cm9uZw==").String()}, "535")
	LogIn(t, k, "joe")
	begins(t, []string{k.Ask(t, "MAIL FROM:<joe@example.com>").String(), k.Ask(t, "RCPT TO:<dora@elsewhere.test>").String()}, "250", "250")
	k = b.Dial(t, Outside)
	k.Expect(t, "220", "banner")
	begins(t, []string{k.Ask(t, "XCLIENT ADDR=192.0.2.7 NAME=[UNAVAILABLE] LOGIN=joe").String()}, "220")
	k.Ask(t, "EHLO x.test")
	begins(t, []string{k.Ask(t, "MAIL FROM:<joe@example.com>").String(), k.Ask(t, "RCPT TO:<dora@elsewhere.test>").String()}, "250", "250")
}

// TestPastedByItsFile shows that the places are named as the guides name them.
func TestPastedByItsFile(t *testing.T) {
	var p Pasted
	p.Add(t, "exim: macros", "A = b", "C = d")
	p.Add(t, "exim: macros", "E = f")
	if p.EximMain != "A = b\nC = d\nE = f\n" {
		t.Errorf("%+v", p)
	}
}

// TestPasteReplaces shows that an administrator's file says nothing twice.
func TestPasteReplaces(t *testing.T) {
	got := pasteMain(map[string]string{"a": "1", "b": "2"}, "# a = 0\nb =\n  3,\n  c = 4\n")
	if want := "a = 1\n# a = 0\nb =\n  3,\n  c = 4\n\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	got = pasteMaster("smtp inet n - n - - smtpd\nsmtp unix - - n - - smtp\n", "smtp  inet  n - n - 1 postscreen\n")
	if want := "smtp unix - - n - - smtp\nsmtp  inet  n - n - 1 postscreen\n\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestPostfixComplaints shows that a parameter which nobody reads is noticed.
func TestPostfixComplaints(t *testing.T) {
	p := StartPostfix(t, PostfixOptions{})
	if what := p.complaints(); what != "" {
		t.Errorf("by itself: %s", what)
	}
	p.write("main.cf", readFile(p.path("conf/main.cf"))+"smtpd_mitlers = inet:127.0.0.1:1\n")
	if what := p.complaints(); !strings.Contains(what, "smtpd_mitlers") {
		t.Errorf("with a parameter that is none: %q", what)
	}
}

// TestPostfixTakesFromItsOwnMachine shows the sendmail command of a private instance.
func TestPostfixTakesFromItsOwnMachine(t *testing.T) {
	b := OpenBeside(t, "postfix", Pasted{})
	b.Submit(t, "joe@"+Domain, "Subject: x\n\nx\n", "dora@elsewhere.test")
	b.World.Wait(t, "the message", func(m *mailtest.Mock) bool { return len(m.Messages()) == 1 })
	if m := b.World.Messages()[0]; m.From != "joe@"+Domain {
		t.Errorf("left: %v", m)
	}
}
