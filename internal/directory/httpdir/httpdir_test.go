package httpdir

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"backstop/internal/directory"
	"backstop/internal/directory/health"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/mailtest"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// leap is a clock on which every pause is over at the next look.
func leap() func() time.Time {
	var n atomic.Int64
	return func() time.Time { return time.Unix(1_000_000+n.Add(60), 0) }
}

func open(t testing.TB, cfg Config, text string) *Source {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Name, cfg.URL, cfg.Now = "hook", u, leap()
	if cfg.Timeout == 0 {
		cfg.Timeout = 20 * time.Second
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func ask(t testing.TB, s *Source, addr string) directory.Answer {
	t.Helper()
	a, err := mail.ParseAddress(addr)
	if err != nil {
		t.Fatal(err)
	}
	return s.Lookup(context.Background(), a)
}

func expect(t testing.TB, s *Source, addr string, want evidence.Standing, detail string) {
	t.Helper()
	a := ask(t, s, addr)
	if a.Standing != want || !strings.Contains(a.Detail, detail) || strings.ContainsAny(a.Detail, "\r\n") {
		t.Fatalf("%s is %v (%s), want %v (…%s…)", addr, a.Standing, a.Detail, want, detail)
	}
	if definite := want != evidence.Unavailable; a.Cacheable != definite {
		t.Fatalf("%s: cacheable is %v", addr, a.Cacheable)
	}
}

// panel knows users, as a hosting panel would.
type panel struct {
	mu    sync.Mutex
	users map[string]bool
	token string
	proto string
}

func (p *panel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proto = r.Proto
	switch {
	case p.token != "" && r.Header.Get("Authorization") != "Bearer "+p.token:
		w.WriteHeader(http.StatusUnauthorized)
	case !p.users[r.URL.Query().Get("address")]:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (p *panel) set(user string, is bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users[user] = is
}

func serve(t testing.TB, h http.Handler) *httptest.Server {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestFollows(t *testing.T) {
	p := &panel{users: map[string]bool{"alice@example.com": true}, token: "s3cret"}
	server := serve(t, p)
	s := open(t, Config{Token: "s3cret"}, server.URL+"/api/recipient?key=a%26b&x=1")
	expect(t, s, "Alice@Example.com", evidence.Exists, "")
	expect(t, s, "bob@example.com", evidence.Missing, "")
	p.set("bob@example.com", true)
	expect(t, s, "bob@example.com", evidence.Exists, "")
	p.set("bob@example.com", false)
	p.set("robert@example.com", true)
	expect(t, s, "bob@example.com", evidence.Missing, "")
	expect(t, s, "robert@example.com", evidence.Exists, "")
	if st := s.State(); st.Failures != 0 || st.Condition == health.Down {
		t.Errorf("state: %+v", st)
	}
	var log bytes.Buffer
	wrong := open(t, Config{Token: "wr0ng-token", Logger: slog.New(slog.NewTextHandler(&log, nil))}, server.URL)
	expect(t, wrong, "alice@example.com", evidence.Unavailable, "it wants a token, or another one")
	if st := wrong.State(); st.Condition != health.Down || strings.Contains(fmt.Sprint(st, log.String()), "wr0ng") {
		t.Errorf("state: %+v, log: %s", st, log.String())
	}
}

// TestStatus asks a server that answers with the status that the address names.
func TestStatus(t *testing.T) {
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var status int
		fmt.Sscanf(r.URL.Query().Get("address"), "s%d@", &status)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	s := open(t, Config{}, server.URL)
	for status := 200; status < 600; status++ {
		want := evidence.Unavailable
		switch status {
		case 200:
			want = evidence.Exists
		case 404:
			want = evidence.Missing
		}
		expect(t, s, fmt.Sprintf("s%d@example.com", status), want, "")
	}
	for status, down := range map[int]bool{400: false, 500: false, 422: false, 503: true, 401: true, 302: true, 429: true, 204: true} {
		s := open(t, Config{}, server.URL)
		for range 20 {
			expect(t, s, fmt.Sprintf("s%d@example.com", status), evidence.Unavailable, fmt.Sprint(status))
		}
		if is := s.State().Condition == health.Down; is != down {
			t.Errorf("%d: %+v", status, s.State())
		}
	}
}

// TestRedirect: whoever the answer points at gets neither question nor token.
func TestRedirect(t *testing.T) {
	var reached atomic.Int32
	other := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	server := serve(t, http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	s := open(t, Config{Token: "s3cret"}, server.URL)
	expect(t, s, "alice@example.com", evidence.Unavailable, "write the final URL")
	if reached.Load() != 0 {
		t.Error("it was followed")
	}
}

// TestProxyIsNotUsed looks at the setting: no proxy of the environment is ever used for the loopback.
func TestProxyIsNotUsed(t *testing.T) {
	if s := open(t, Config{}, "http://127.0.0.1/"); s.transport.Proxy != nil {
		t.Error("there may be one")
	}
}

func TestTLS(t *testing.T) {
	p := &panel{users: map[string]bool{"alice@example.com": true}}
	authority := mailtest.NewAuthority(t)
	server := httptest.NewUnstartedServer(p)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{authority.Issue(t, "127.0.0.1")}}
	server.StartTLS()
	t.Cleanup(server.Close)
	s := open(t, Config{TLSConfig: &tls.Config{RootCAs: authority.Pool()}}, server.URL)
	expect(t, s, "alice@example.com", evidence.Exists, "")
	if p.proto != "HTTP/2.0" {
		t.Error(p.proto)
	}
	expect(t, open(t, Config{}, server.URL), "alice@example.com", evidence.Unavailable, "certificate")
	expect(t, open(t, Config{}, strings.Replace(server.URL, "https", "http", 1)), "alice@example.com", evidence.Unavailable, "")
	plain := serve(t, p)
	expect(t, open(t, Config{}, strings.Replace(plain.URL, "http", "https", 1)), "alice@example.com", evidence.Unavailable, "")
}

// TestRestart: a kept connection whose server was restarted costs no question.
func TestRestart(t *testing.T) {
	p := &panel{users: map[string]bool{"alice@example.com": true}}
	server := httptest.NewServer(p)
	addr := server.Listener.Addr().String()
	s := open(t, Config{}, server.URL)
	for range 3 {
		var together sync.WaitGroup
		for range 16 {
			together.Go(func() { expect(t, s, "alice@example.com", evidence.Exists, "") })
		}
		together.Wait()
		server.CloseClientConnections()
		server.Close()
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		server = &httptest.Server{Listener: ln, Config: &http.Server{Handler: p}}
		server.Start()
	}
	server.CloseClientConnections()
	server.Close()
	expect(t, s, "alice@example.com", evidence.Unavailable, "refused")
	expect(t, s, "nobody@example.com", evidence.Unavailable, "refused")
	if st := s.State(); st.Condition != health.Down || st.Failures != 2 {
		t.Errorf("state: %+v", st)
	}
}

// speak answers each connection with text, once the question was read, and then hangs.
func speak(t testing.TB, text string, drip time.Duration) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				nc.Read(make([]byte, 4096))
				if drip == 0 {
					io.WriteString(nc, text)
				} else {
					ticker := time.NewTicker(drip)
					defer ticker.Stop()
					for i := range text {
						if _, err := nc.Write([]byte{text[i]}); err != nil {
							return
						}
						<-ticker.C
					}
				}
				io.Copy(io.Discard, nc) // until the other side hangs up
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return "http://" + ln.Addr().String()
}

func TestRogues(t *testing.T) {
	huge := strings.Repeat("x", 1<<20)
	for what, c := range map[string]struct {
		text string
		drip time.Duration
		want evidence.Standing
		mute bool // it never says enough
	}{
		"silence":                {"", 0, evidence.Unavailable, true},
		"nonsense":               {"\x00\xff\x15\x03 250 ok\r\n\r\n", 0, evidence.Unavailable, false},
		"half a status":          {"HTTP/1.1 20", 0, evidence.Unavailable, true},
		"headers without end":    {"HTTP/1.1 200 OK\r\nX: " + huge, 0, evidence.Unavailable, false},
		"many headers":           {"HTTP/1.1 404 no\r\n" + strings.Repeat("X: y\r\n", 100_000) + "\r\n", 0, evidence.Unavailable, false},
		"slow drip":              {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 50 * time.Millisecond, evidence.Unavailable, true},
		"100 for ever":           {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 10_000) + "HTTP/1.1 404 no\r\n\r\n", 0, evidence.Unavailable, false},
		"a body that never ends": {"HTTP/1.1 200 OK\r\n\r\n" + huge, 0, evidence.Exists, false},
		"a body that hangs":      {"HTTP/1.1 404 no\r\nContent-Length: 100\r\n\r\n", 0, evidence.Missing, false},
		"a header over two":      {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: y\r\n z\r\n\r\n", 0, evidence.Exists, false},
		"mail server":            {"220 mail.example.com ESMTP\r\n", 0, evidence.Unavailable, false},
	} {
		t.Run(what, func(t *testing.T) {
			timeout := time.Hour
			if c.mute {
				timeout = 400 * time.Millisecond
			}
			s := open(t, Config{Timeout: timeout}, speak(t, c.text, c.drip))
			expect(t, s, "alice@example.com", c.want, "")
			s.Close()
		})
	}
}

func TestGivenUp(t *testing.T) {
	s := open(t, Config{Connections: 1}, speak(t, "", 0))
	addr, _ := mail.ParseAddress("alice@example.com")
	ctx, cancel := context.WithCancel(context.Background())
	answers := make(chan directory.Answer)
	for range 2 { // one asks, the other waits for the connection
		go func() { answers <- s.Lookup(ctx, addr) }()
	}
	cancel()
	for range 2 {
		if a := <-answers; a.Standing != evidence.Unavailable {
			t.Errorf("%+v", a)
		}
	}
	if st := s.State(); st.Failures != 0 {
		t.Errorf("state: %+v", st)
	}
	go func() { answers <- s.Lookup(context.Background(), addr) }()
	s.Close()
	if a := <-answers; a.Standing != evidence.Unavailable {
		t.Errorf("%+v", a)
	}
	expect(t, s, "alice@example.com", evidence.Unavailable, "closed")
}

// TestAddressIsEscaped: the server gets the address that was asked for, and nothing else of its making.
func TestAddressIsEscaped(t *testing.T) {
	var mu sync.Mutex
	var last url.Values
	server := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		last = r.URL.Query()
	}))
	s := open(t, Config{}, server.URL+"/?role=mail")
	census := map[rune]int{}
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			key := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("a&=?#%+/\\ ;\"'<>\r\n\x00ü@")))).Draw(t, "key")
			status, err := s.get(context.Background(), key)
			if err != nil || status != 200 {
				t.Fatalf("%q: %d %v", key, status, err)
			}
			mu.Lock()
			got := last
			mu.Unlock()
			if len(got) != 2 || got.Get("role") != "mail" || len(got["address"]) != 1 || got.Get("address") != key {
				t.Fatalf("%q came as %q", key, got)
			}
			for _, r := range key {
				census[r]++
			}
		}
	})
	for _, r := range "&=?#%+/\\ ;\"'\r\n\x00" {
		if census[r] < 100 {
			t.Errorf("%q was asked for %d times", r, census[r])
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"ftp://panel.example.com/":             "http and https",
		"https:///x":                           "no host",
		"https://panel.example.com/?address=x": "leave it away",
		"https://panel.example.com/?a=%zz":     "%XX",
		"https://panel.example.com/#x":         "never sent",
		"https://u:hunter2@panel.example.com/": "only one",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{URL: u, Token: "s3cret"}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
	u, _ := url.Parse("https://panel.example.com/")
	if _, err := New(Config{URL: u, Token: "a\nb"}); err == nil {
		t.Error("a token of two lines is taken")
	}
	if _, err := New(Config{}); err == nil {
		t.Error("no URL is taken")
	}
}

func TestWarnings(t *testing.T) {
	for text, want := range map[string]string{
		"http://panel.example.com/": "the token goes to panel.example.com over http",
		"http://10.0.0.1:8080/":     "10.0.0.1:8080", "http://127.0.0.1/": "", "http://[::1]/": "", "http://localhost/": "", "https://panel.example.com/": "",
	} {
		got := strings.Join(open(t, Config{Token: "s3cret"}, text).Warnings(), "\n")
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q", text, got)
		}
	}
	if w := open(t, Config{}, "http://panel.example.com/").Warnings(); len(w) != 1 || strings.Contains(w[0], "token") {
		t.Errorf("%q", w)
	}
}

func BenchmarkLookup(b *testing.B) {
	p := &panel{users: map[string]bool{"alice@example.com": true}}
	s := open(b, Config{}, serve(b, p).URL)
	addr, _ := mail.ParseAddress("alice@example.com")
	b.ReportAllocs()
	for b.Loop() {
		if a := s.Lookup(context.Background(), addr); a.Standing != evidence.Exists {
			b.Fatal(a)
		}
	}
}
