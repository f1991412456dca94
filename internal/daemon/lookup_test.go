package daemon_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// besideMTA is a configuration with these sections, for a domain with a list.
func besideMTA(t testing.TB, sections, domain string) string {
	t.Helper()
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, []byte("alice\n\"with blank\"\nplus+one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return sections + fmt.Sprintf("[[domain]]\nname = \"example.com\"\nrelay = \"smtp://127.0.0.1:9\"\nrecipients = [\"list:%s\"]\n%s\n", users, domain)
}

// asked is the JSON of GET /api/v1/lookup.
type asked struct {
	Address, Standing, Source, Verdict, Rule, Reply string
	Trail                                           []map[string]any
	Error, Hint                                     string
}

func lookup(t testing.TB, web, query string) (int, asked) {
	t.Helper()
	code, text := get(t, "tcp", web, "/api/v1/lookup?"+query)
	var a asked
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatalf("%s: %s: %v", query, text, err)
	}
	return code, a
}

// TestLookupAPI: who exists, and what the gateway would say; each answer is a decision in the log.
func TestLookupAPI(t *testing.T) {
	dns := mailtest.StartDNS(t, senderZone)
	g := start(t, besideMTA(t, fmt.Sprintf("[panel]\nlisten = \"127.0.0.1:0\"\n[policy]\nlisten = \"\"\n[smtp]\nblocked = [\"203.0.113.66\"]\nlisten = [\"127.0.0.1:0\"]\n[dns]\nresolvers = [%q]\n", dns.Addr()),
		"forged = \"refuse\"\nspf = \"refuse\""))
	web := g.Addrs()["panel"][0].String()
	b64 := func(s string) string {
		return strings.ReplaceAll(base64.StdEncoding.EncodeToString([]byte(s)), "=", "%3D")
	} // its plus signs stay
	for _, c := range []struct{ query, standing, verdict, rule, reply string }{
		{"address=alice@example.com", "exists", "accept", "accepted", "250 2.1.5"},
		{"address=Alice@EXAMPLE.com", "exists", "accept", "accepted", "250 2.1.5"},
		{"address=ghost@example.com", "missing", "refuse", "recipient-missing", "550 5.1.1 <ghost@example.com>: Recipient address rejected: User unknown ["},
		{"address=x@other.example", "missing", "accept", "accepted", "250 2.1.5"}, // the MTA's own business
		{"address64=" + b64(`"with blank"@example.com`), "exists", "accept", "accepted", "250 2.1.5"},
		{"address=" + url.QueryEscape("plus+one@example.com"), "exists", "accept", "accepted", "250 2.1.5"},
		{"address64=" + b64("aπ@example.com"), "missing", "refuse", "recipient-missing", "550 5.1.1"},
		{"address=alice@example.com&client=203.0.113.66", "exists", "refuse", "client-blocked", "554 5.7.1"},
		{"address=alice@example.com&client=203.0.113.5&helo=h.example&from=bob@example.com", "exists", "refuse", "sender-forged", "550 5.7.1 <bob@example.com>"},
		{"address=alice@example.com&client=198.51.100.10&from=bob@example.com", "exists", "accept", "accepted", "250"},
		{"address=alice@example.com&client=203.0.113.5&from=ann@strict.example", "exists", "refuse", "sender-spf", "550 5.7.23"},
		{"address=alice@example.com&client=203.0.113.5&from=", "exists", "accept", "accepted", "250"},
		{"address=alice@example.com&client=::ffff:203.0.113.66", "exists", "refuse", "client-blocked", "554 5.7.1"},
		{"address=alice@example.com&client=203.0.113.5&from=%3Cbob@example.com%3E", "exists", "refuse", "sender-forged", "550 5.7.1 <bob@example.com>"},
		{"address=alice@example.com&client=203.0.113.5&from=j%C3%BCrgen@far.example", "exists", "accept", "accepted", "250"},
		{"address=ghost@example.com&no-ask=false", "missing", "refuse", "recipient-missing", "550 5.1.1"},
		{"address=alice@example.com&client=127.0.0.1&from=bob@example.com", "exists", "accept", "accepted", "250"},
	} {
		code, a := lookup(t, web, c.query)
		if code != http.StatusOK || a.Standing != c.standing || a.Verdict != c.verdict || a.Rule != c.rule || !strings.HasPrefix(a.Reply, c.reply) || len(a.Trail) == 0 {
			t.Errorf("%s: %d %+v", c.query, code, a)
		}
		g.logged(t, `"door":"http"`, `"rule":"`+c.rule+`"`)
	}
	before := strings.Count(g.log.String(), `"door":"http"`)
	for _, query := range []string{"address=alice@example.com&no-ask=true", "address=alice@example.com&at=2030-01-01T00:00:00Z"} {
		if code, a := lookup(t, web, query); code != http.StatusOK || a.Standing != "exists" || a.Verdict != "" {
			t.Errorf("%s: %d %+v", query, code, a)
		}
	}
	if strings.Count(g.log.String(), `"door":"http"`) != before {
		t.Error("a look-up alone was taken for a decision")
	}
}

// TestLookupWrong: what cannot be asked is told so, with advice.
func TestLookupWrong(t *testing.T) {
	g := start(t, besideMTA(t, "[smtp]\nlisten = [\"127.0.0.1:0\"]\n[panel]\nlisten = \"127.0.0.1:0\"\n", ""))
	web := g.Addrs()["panel"][0].String()
	for query, want := range map[string]string{
		"":                                  "address",
		"address=":                          "no address",
		"address=alice":                     "no address",
		"address=a@b@c":                     "no address",
		"address64=?":                       "not base64",
		"adress=alice@example.com":          "unknown parameter",
		"address=a@example.com&client=here": "no IP address",
		"address=a@example.com&client=192.0.2.1&from=@": "no address",
		"address=a@example.com&from=b@example.com":      "depends on the client",
		"address=a@example.com&at=now":                  "no time",
	} {
		if code, a := lookup(t, web, query); code != http.StatusBadRequest || !strings.Contains(a.Error, want) || a.Hint == "" {
			t.Errorf("%q: %d %+v", query, code, a)
		}
	}
	for _, c := range []struct {
		method, path string
		code         int
	}{{"POST", "/api/v1/lookup", http.StatusMethodNotAllowed}, {"GET", "/api/v1/nothing", http.StatusNotFound}} {
		q, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+web+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		var a asked
		if err := json.NewDecoder(answer.Body).Decode(&a); err != nil || answer.StatusCode != c.code || a.Error == "" || a.Hint == "" {
			t.Errorf("%s %s: %d %+v, %v", c.method, c.path, answer.StatusCode, a, err)
		}
		answer.Body.Close()
	}
}

// TestLookupClients: strangers are not told who exists.
func TestLookupClients(t *testing.T) {
	g := start(t, besideMTA(t, "[smtp]\nlisten = [\"127.0.0.1:0\"]\n[panel]\nlisten = \"127.0.0.1:0\"\nlookup_clients = [\"192.0.2.0/24\"]\n", ""))
	if code, a := lookup(t, g.Addrs()["panel"][0].String(), "address=alice@example.com"); code != http.StatusForbidden || !strings.Contains(a.Hint, "lookup_clients") {
		t.Errorf("%d %+v", code, a)
	}
	socket := filepath.Join(mailtest.Dir(t), "web.sock")
	start(t, besideMTA(t, "[smtp]\nlisten = [\"127.0.0.1:0\"]\n[panel]\nlisten = \"unix:"+socket+"\"\nlookup_clients = []\n", ""))
	if code, text := get(t, "unix", socket, "/api/v1/lookup?address=alice@example.com"); code != http.StatusOK {
		t.Errorf("by the unix socket: %d %s", code, text)
	}
}

// TestLookupText: one line for an MTA, over the oldest HTTP that it may speak.
func TestLookupText(t *testing.T) {
	const sections = "[smtp]\nlisten = [\"127.0.0.1:0\"]\n[panel]\nlisten = \"127.0.0.1:0\"\n"
	web := start(t, besideMTA(t, sections, "")).Addrs()["panel"][0].String()
	watching := start(t, besideMTA(t, sections, "mode = \"watch\"")).Addrs()["panel"][0].String()
	long := strings.Repeat("x", 65)
	const ok = "250 2.1.5 Ok\n"
	for to, want := range map[string][2]string{ // enforced, and in a domain that only watches
		"alice@example.com":     {ok, ok},
		"ghost@example.com":     {"550 5.1.1 <ghost@example.com>: Recipient address rejected: User unknown [", "250 "},
		long + "@example.com":   {"501 5.1.3 ", ok},
		long + "@other.example": {ok, ok},
		"example.com":           {ok, ok}, // no address, and no domain
		"a@example.com&client=192.0.2.1&from=" + long + "@b.example": {"501 5.1.7 ", ok},
		"example.com&client=192.0.2.1&from=" + long + "@b.example":   {ok, ok},
		"alice@example.com&no-ask=true":                              {"exists\n", "exists\n"},
		"ghost@example.com&at=2030-01-01T00:00:00Z":                  {"missing\n", "missing\n"},
	} {
		for i, at := range []string{web, watching} {
			if text := line(t, at, to); !strings.HasPrefix(text, want[i]) || strings.Count(text, "\n") != 1 {
				t.Errorf("%s, watched %d: %q", to, i, text)
			}
		}
	}
}

// line asks for text/plain, over HTTP/1.0.
func line(t *testing.T, web, to string) string {
	t.Helper()
	c, err := net.Dial("tcp", web)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /api/v1/lookup?address=%s HTTP/1.0\r\nAccept: text/plain\r\n\r\n", to)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || !r.Close {
		t.Errorf("%s: %v, closed %v", to, err, r.Close)
	}
	return string(text)
}
