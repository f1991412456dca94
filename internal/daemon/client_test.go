package daemon_test

import (
	"regexp"
	"strings"
	"testing"

	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// guardedPostfix refuses one network by its access rules, and hears of clients in every way.
func guardedPostfix(t testing.TB, proxy bool) *rig.Postfix {
	t.Helper()
	return rig.StartPostfix(t, rig.PostfixOptions{
		XClient: !proxy, XForward: !proxy, Proxy: proxy,
		Access: map[string]string{"198.51.100.0/24": "REJECT go away", "127.0.0.9/32": "REJECT not you", "2001:db8:bad::/48": "REJECT nor you"},
		Main:   map[string]string{"inet_protocols": "all"},
	})
}

// TestPostfixSeesTheClient hands the true client on: Postfix's log names it, and
// its access rules refuse it. The client comes from a loopback address of its own, or
// is told to us by a front that we trust, by XCLIENT or a PROXY header.
func TestPostfixSeesTheClient(t *testing.T) {
	for _, way := range []string{"xclient", "proxy"} {
		t.Run(way, func(t *testing.T) {
			p := guardedPostfix(t, way == "proxy")
			g := start(t, relayTo("smtp://"+p.Addr+"?client="+way,
				"xclient = [\"127.0.0.1/32\"]\nproxy_protocol = [\"127.0.0.2/32\"]", ""))
			for _, c := range clients() {
				t.Run(c.seen, func(t *testing.T) { c.play(t, g, p) })
			}
		})
	}
}

// client is how somebody comes to us, and as whom Postfix must know him.
type client struct {
	source, xclient, proxy string
	seen                   string
	refused                bool
}

func clients() []client {
	return []client{
		{source: "127.0.0.8", seen: "127.0.0.8"},
		{source: "127.0.0.9", seen: "127.0.0.9", refused: true},
		{source: "127.0.0.1", xclient: "ADDR=192.0.2.7 NAME=mail.sender.example", seen: "192.0.2.7"},
		{source: "127.0.0.1", xclient: "ADDR=198.51.100.4", seen: "198.51.100.4", refused: true},
		{source: "127.0.0.1", xclient: "ADDR=IPV6:2001:db8::7", seen: "2001:db8::7"},
		{source: "127.0.0.2", proxy: "PROXY TCP4 192.0.2.9 192.0.2.1 4711 25\r\n", seen: "192.0.2.9"},
		{source: "127.0.0.2", proxy: "PROXY TCP4 198.51.100.5 192.0.2.1 4711 25\r\n", seen: "198.51.100.5", refused: true},
		{source: "127.0.0.2", proxy: "PROXY TCP6 2001:db8::9 2001:db8::1 4711 25\r\n", seen: "2001:db8::9"},
		{source: "127.0.0.2", proxy: "PROXY TCP6 2001:db8:bad::9 2001:db8::1 4711 25\r\n", seen: "2001:db8:bad::9", refused: true},
	}
}

// hail connects as the client does, up to the answer to EHLO.
func (c client) hail(t testing.TB, addr string) *mailtest.Talk {
	t.Helper()
	k := dialFrom(t, addr, c.source)
	if c.proxy != "" {
		if err := k.Send(c.proxy); err != nil {
			t.Fatal(err)
		}
	}
	k.Expect(t, "220", "banner")
	if c.xclient != "" {
		say(t, k, "EHLO front.example", "/XCLIENT .*ADDR/", "XCLIENT "+c.xclient, "220")
	}
	say(t, k, "EHLO client.example", "250")
	return k
}

func (c client) play(t *testing.T, g *gateway, p *rig.Postfix) {
	p.Store.Forget()
	k := c.hail(t, g.addr)
	if c.refused {
		say(t, k, "MAIL FROM:<ann@sender.example>", "250", "RCPT TO:<alice@example.com>", "554 5.7.1 <alice@example.com>:", "QUIT", "221")
		p.WaitLog(t, "["+c.seen+"]: 554 5.7.1")
		g.logged(t, `"client":"`+c.seen+`"`, `"rule":"downstream-recipient"`)
		return
	}
	send(t, k, "ann@sender.example", "alice@example.com", hello(c.seen), "250 2.0.0")
	p.WaitLog(t, "["+c.seen+"]")
	p.Settle(t)
	body := string(one(t, p.Store).Body)
	if n := strings.Count(body, "["+c.seen+"])") + strings.Count(body, "[IPv6:"+c.seen+"])"); n != 2 {
		t.Errorf("the client should stand in our Received and in Postfix's:\n%s", body)
	}
	g.logged(t, `"msg":"accept"`, `"stage":"data"`, `"client":"`+c.seen+`"`)
}

// TestPostfixLogsTheForwardedClient: XFORWARD is for the log alone, so the access
// rules go on seeing the gateway (Postfix XFORWARD_README).
func TestPostfixLogsTheForwardedClient(t *testing.T) {
	p := guardedPostfix(t, false)
	g := start(t, relayTo("smtp://"+p.Addr+"?client=xforward", "xclient = [\"127.0.0.1/32\"]", ""))
	for _, c := range clients() {
		if c.proxy != "" {
			continue
		}
		send(t, c.hail(t, g.addr), "ann@sender.example", "alice@example.com", hello(c.seen), "250 2.0.0")
		p.WaitLog(t, "["+c.seen+"]")
	}
	if !regexp.MustCompile(`client=unknown\[127\.0\.0\.1\], orig_client=mail\.sender\.example\[192\.0\.2\.7\]`).MatchString(p.Log()) {
		t.Errorf("Postfix does not log name and address of the original client:\n%s", p.Log())
	}
}

// TestUntrustedClientPretends: who is not trusted gains nothing by XCLIENT or PROXY.
func TestUntrustedClientPretends(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Extensions: append([]string{"XCLIENT NAME ADDR PORT PROTO HELO LOGIN"}, mailtest.AllExtensions...)})
	g := start(t, relayTo("smtp://"+m.Addr()+"?client=xclient", "xclient = [\"127.0.0.1/32\"]\nproxy_protocol = [\"127.0.0.2/32\"]", ""))
	k := dialFrom(t, g.addr, "127.0.0.5")
	k.Expect(t, "220", "banner")
	r := k.Ask(t, "EHLO stranger.example")
	if strings.Contains(r.String(), "XCLIENT") {
		t.Errorf("XCLIENT is offered to a stranger: %q", r)
	}
	say(t, k, "XCLIENT ADDR=192.0.2.7", "550 5.7.0", "PROXY TCP4 192.0.2.9 192.0.2.1 4711 25", "500")
	send(t, k, "ann@sender.example", "alice@example.com", hello("a"), "250")
	if x := one(t, m); x.Client["ADDR"] != "127.0.0.5" || x.Client["HELO"] != "stranger.example" {
		t.Errorf("the downstream was told %v", x.Client)
	}
}

// TestDownstreamWithoutXClient gets the mail all the same, and the operator is told.
func TestDownstreamWithoutXClient(t *testing.T) {
	for _, way := range []string{"xclient", "xforward"} {
		m := mailtest.NewMock(t, mailtest.Script{})
		g := start(t, relayTo("smtp://"+m.Addr()+"?client="+way, "", ""))
		send(t, open(t, g.addr), "ann@sender.example", "alice@example.com", hello("a"), "250")
		one(t, m)
		g.logged(t, `"level":"WARN"`, "does not take the client's address", way)
	}
}
