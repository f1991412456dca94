package main

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
	"backstop/internal/scan"
)

// mxZone is a DNS in which this machine is the server of example.com.
const mxZone = `
example.com    MX 10 mx.example.com
mx.example.com A  127.0.0.1
me.example.org A  127.0.0.1
null.example   MX 0 .
`

// scanArgs are those of a scan of example.com by a DNS of its own, without a pause.
func scanArgs(t *testing.T, addr string, more ...string) []string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	dns := mailtest.StartDNS(t, mxZone)
	return append([]string{"scan", "example.com", "--port", port, "--resolver", dns.Addr().String(), "--helo", "scan.example.org", "--pause", "0s", "--retry-after", "0s"}, more...)
}

// TestScan: exit code, text and JSON of a server that is well, one that is not, and one that is not there.
func TestScan(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"postmaster"}})
	code, out, stderr := run(t, scanArgs(t, m.Addr())...)
	if code != 0 || stderr != "" || !strings.Contains(out, "\nrefuses-at-rcpt: healthy\n\n  - It refuses unknown recipients at RCPT") || !strings.HasPrefix(out, "mx.example.com:") {
		t.Errorf("exit %d\n%s%s", code, out, stderr)
	}
	for line := range strings.Lines(out) {
		if len([]rune(line)) > 160 {
			t.Errorf("too long for anybody: %s", line)
		}
	}
	_, port, _ := net.SplitHostPort(m.Addr())
	if code, out, stderr = run(t, "scan", "smtp://localhost:"+port, "--domain", "example.com", "--pause", "0s"); code != 0 || !strings.HasPrefix(out, "localhost:"+port+", asked for example.com") {
		t.Errorf("exit %d\n%s%s", code, out, stderr)
	}
	m.Set(mailtest.Script{})
	code, out, stderr = run(t, scanArgs(t, m.Addr(), "--json")...)
	var r map[string]any
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 1 || r["class"] != "accepts-unknown" || r["target"] != "example.com" || r["starttls"] != nil || r["banner"] != "220 mock.test ESMTP" {
		t.Errorf("exit %d, %v\n%s%s", code, err, out, stderr)
	}
	for _, key := range []string{"target", "host", "class", "advice", "steps", "starttls", "banner"} {
		if _, there := r[key]; !there {
			t.Errorf("%s is missing: %s", key, out)
		}
	}
	steps, _ := r["steps"].([]any)
	if len(steps) < 20 {
		t.Fatal(out)
	}
	for _, key := range []string{"step", "sent", "reply", "ms"} {
		if _, there := steps[1].(map[string]any)[key]; !there {
			t.Errorf("a step lacks %s: %s", key, steps[1])
		}
	}
	m.Down()
	if code, out, _ = run(t, scanArgs(t, m.Addr())...); code != 2 || !strings.Contains(out, "\nunreachable: could not tell\n\n  - mx.example.com cannot be reached at 127.0.0.1:") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// TestScanTLS: the certificate is shown, and whom it names.
func TestScanTLS(t *testing.T) {
	cert := mailtest.NewAuthority(t).Issue(t, "mx.example.com")
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"postmaster"}, TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	if code, out, _ := run(t, scanArgs(t, m.Addr())...); code != 0 || !strings.Contains(out, "\nSTARTTLS: TLS 1.3; CN=") || !strings.Contains(out, " for mx.example.com, which is its host; by CN=test authority") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// TestScanNoWayBack: no message is sent from where no bounce can get to.
func TestScanNoWayBack(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	for domain, want := range map[string]string{"nowhere.example": "has neither an MX record nor an address", "null.example": "takes no mail (RFC 7505)"} {
		code, out, stderr := run(t, scanArgs(t, m.Addr(), "--send", "--return-path", "scan@"+domain, "--listen", "127.0.0.1:0")...)
		if code != 3 || !strings.Contains(stderr, want) || len(m.Wires()) > 0 {
			t.Errorf("exit %d\n%s%s", code, out, stderr)
		}
	}
}

// TestScanPage: what docs/scan.md shows is what is really printed. With -v it prints the results, to be pasted there.
func TestScanPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/scan.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, c := range []struct {
		kind string
		mode rig.Mode
		send bool
		code int
	}{{"postfix", rig.RefuseRcpt, false, 0}, {"postfix", rig.BounceLate, true, 1}, {"exim", rig.Greylist, false, 0}} {
		t.Run(c.kind+"/"+string(c.mode), func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l.Close() // the command listens itself
			s := rig.StartScanned(t, c.kind, c.mode, l.Addr().String())
			args := scanArgs(t, s.Addr)
			if c.send {
				args = append(args, "--send", "--return-path", "scan@me.example.org", "--listen", l.Addr().String())
			}
			code, out, stderr := run(t, args...)
			t.Logf("%s\n%s", args, out)
			if code != c.code || stderr != "" {
				t.Errorf("exit %d\n%s", code, stderr)
			}
			if !strings.Contains(shape(page), shape(out)) {
				t.Errorf("docs/scan.md does not show it:\n%s", out)
			}
		})
	}
}

// changing is what differs each time: ports, made-up addresses, times, identifiers.
var changing = regexp.MustCompile(`:\d{4,5}\b|<[^<>@ ]+@example\.(com|org)>|\d+(\.\d+)?m?s\b|\d{1,2}:\d\d:\d\d|(Mon|Tue|Wed|Thu|Fri|Sat|Sun), .*|queued as \w+|Exim [\d.]+|\s+\d+$|\s+`)

// shape is a text without what changes, and without its line breaks.
func shape(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString(changing.ReplaceAllString(strings.TrimRight(line, "\n"), ""))
	}
	return b.String()
}

// TestScanFlags: what does not fit together is said, and nobody is asked.
func TestScanFlags(t *testing.T) {
	for args, want := range map[string]string{
		"":                                   "scan needs a domain",
		"a b":                                "takes a domain",
		"bob@example.com":                    "is an address, and no domain",
		"192.0.2.1":                          "is the address of a server",
		"smtp://192.0.2.1":                   "a server alone does not say",
		"smtp://192.0.2.1/x --domain a.b":    "is not smtp://HOST[:PORT]",
		"smtps://192.0.2.1 --domain a.b":     "is not smtp://HOST[:PORT]",
		"smtp://h:99999 --domain a.b":        "is not smtp://HOST[:PORT]|is no port",
		"smtp://h:25 --domain a.b --port 26": "the target says port 25",
		"example.com --domain example.net":   "--domain goes with a server",
		"example.com --port smtp":            `"smtp" is no port`,
		"example.com --send":                 "--send needs --return-path and --listen",
		"example.com --send --wait 0s --return-path a@b.example --listen :0": "--wait 0s",
		"example.com --listen :25":   "go with --send",
		"example.com --from bob":     "it needs a domain",
		"example.com --helo a_b\x01": "is no name",
		"example.com --resolver dns": "is no IP address",
		"example.com --pause -1s":    "is no time that can pass",
		"example.com --timeout 0s":   "is no time that can pass",
		"exa_mple..com":              "is no domain",
		"example.com --send --return-path a@b.example --listen 127.0.0.1:99999": "--listen: ",
	} {
		code, out, stderr := run(t, append([]string{"scan"}, strings.Fields(args)...)...)
		if code != 3 || out != "" || !regexp.MustCompile(escapeAll(want)).MatchString(stderr) || !strings.Contains(stderr, "backstop: hint: ") {
			t.Errorf("%s: exit %d\n%s%s", args, code, out, stderr)
		}
	}
	if _, err := scan.ParseTarget("Bücher.example", "", ""); err != nil {
		t.Error(err)
	}
}

// escapeAll is a pattern that fits one of some texts.
func escapeAll(texts string) string {
	var all []string
	for _, s := range strings.Split(texts, "|") {
		all = append(all, regexp.QuoteMeta(s))
	}
	return strings.Join(all, "|")
}
