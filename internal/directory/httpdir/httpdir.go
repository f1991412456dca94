package httpdir

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"backstop/internal/directory"
	"backstop/internal/directory/health"
	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Config of a Source. Name and URL are needed, the rest has defaults.
type Config struct {
	Name        string        // directory.Source's
	URL         *url.URL      // http:// or https://; its query is kept
	Token       string        // for Authorization: Bearer; "": none
	Timeout     time.Duration // of one question, connecting included; 5 s
	Connections int           // open at once; 8
	TLSConfig   *tls.Config   // roots; nil: the system's
	// Logger is told when the server cannot be asked, and when it can be again; nil: nobody.
	Logger *slog.Logger
	// Now is the clock; time.Now.
	Now func() time.Time
}

const (
	maxHeader = 64 << 10              // octets of an answer
	maxBody   = 16 << 10              // octets that are read so that the connection can be used again
	bodyTime  = 50 * time.Millisecond // and how long these may take
)

// Source asks one server. Its methods are called from many goroutines.
type Source struct {
	cfg       Config
	client    *http.Client
	transport *http.Transport
	gate      *health.Gate
}

var _ directory.Source = (*Source)(nil)

// New makes a source. It connects to nobody before the first question.
func New(cfg Config) (*Source, error) {
	if err := check(&cfg); err != nil {
		return nil, err
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Connections <= 0 {
		cfg.Connections = 8
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Logger = cfg.Logger.With("source", cfg.Name)
	s := &Source{
		cfg: cfg,
		transport: &http.Transport{
			DialContext:            (&net.Dialer{}).DialContext,
			TLSClientConfig:        cfg.TLSConfig.Clone(),
			ForceAttemptHTTP2:      true, // which a TLSClientConfig would switch off
			DisableCompression:     true,
			MaxIdleConnsPerHost:    cfg.Connections,
			MaxConnsPerHost:        cfg.Connections,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: maxHeader,
		},
	}
	s.gate = health.NewGate(health.GateOptions{
		Options:     health.Options{Timeout: cfg.Timeout, Logger: cfg.Logger, Now: cfg.Now, LookAt: "the URL"},
		Connections: cfg.Connections, Odd: isOdd, Explain: s.why,
	})
	s.client = &http.Client{
		Transport:     s.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

func check(cfg *Config) error {
	u := cfg.URL
	switch {
	case u == nil:
		return errors.New("the URL is missing: https://host/path")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("the URL: %q is not known: there are http and https", u.Scheme)
	case u.Hostname() == "":
		return errors.New("the URL: no host is named: https://host/path")
	case u.Fragment != "":
		return errors.New("the URL: what stands behind # is never sent: leave it away")
	case u.User != nil && cfg.Token != "":
		return errors.New("the URL has a user, and there is a token: only one of them can be sent")
	case u.Scheme == "http" && cfg.TLSConfig != nil:
		return errors.New("the URL: http has no certificate to trust: write https, or leave that away")
	case strings.ContainsFunc(cfg.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return errors.New("the token has a space in it, or a character that cannot be sent")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("the URL: what stands behind ? is not name=value&…, with %XX for what is special")
	}
	if q.Has("address") {
		return errors.New("the URL: address= is added to it: leave it away")
	}
	return nil
}

// Name is the source's name.
func (s *Source) Name() string { return s.cfg.Name }

// State says how the server does.
func (s *Source) State() health.State { return s.gate.State() }

// Warnings are what the operator should know of the way to the server: one line each.
func (s *Source) Warnings() []string {
	u := s.cfg.URL
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "https" || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	if s.cfg.Token != "" || u.User != nil {
		return []string{fmt.Sprintf("the token goes to %s over http, where it can be read on the way: write https", u.Host)}
	}
	return []string{fmt.Sprintf("%s is asked over http, so anybody on the way can answer for it: write https", u.Host)}
}

// Close ends what is under way and closes the connections.
func (s *Source) Close() {
	s.gate.Close()
	s.transport.CloseIdleConnections()
}

// Lookup asks the server.
func (s *Source) Lookup(ctx context.Context, addr mail.Address) directory.Answer {
	found := false
	err := s.gate.Put(ctx, func(ctx context.Context) error {
		status, err := s.get(ctx, addr.Key())
		if err != nil {
			return err
		}
		found, err = judge(status)
		return err
	})
	switch {
	case err != nil:
		return directory.Answer{Standing: evidence.Unavailable, Detail: err.Error()}
	case found:
		return directory.Answer{Standing: evidence.Exists, Cacheable: true}
	}
	return directory.Answer{Standing: evidence.Missing, Cacheable: true}
}

// get asks for one address and returns the status of the answer.
func (s *Source) get(ctx context.Context, key string) (int, error) {
	u := *s.cfg.URL
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "address=" + url.QueryEscape(key)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("User-Agent", "backstop")
	if s.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.cfg.Token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	// The status is the answer. The body is read to its end if that is near, so that the connection
	// can be used again; else it is closed. What becomes of it changes nothing.
	defer time.AfterFunc(bodyTime, cancel).Stop()
	io.CopyN(io.Discard, resp.Body, maxBody+1)
	return resp.StatusCode, nil
}

// statusError is an answer that is neither yes nor no.
type statusError struct {
	detail string
	odd    bool // it may be about the address that was asked for
}

func (e *statusError) Error() string { return e.detail }

func isOdd(err error) bool {
	var e *statusError
	return errors.As(err, &e) && e.odd
}

// judge says what a status means.
func judge(status int) (found bool, err error) {
	e := &statusError{detail: strings.TrimSpace(fmt.Sprintf("the server says %d %s", status, http.StatusText(status)))}
	switch status {
	case http.StatusOK:
		return true, nil
	case http.StatusNotFound:
		return false, nil
	case http.StatusUnauthorized:
		e.detail += ": it wants a token, or another one"
	case http.StatusForbidden:
		e.detail += ": the token is not allowed to ask this"
	case http.StatusMethodNotAllowed:
		e.detail += ": the URL takes no GET"
	case http.StatusBadRequest, http.StatusRequestURITooLong, http.StatusUnprocessableEntity, http.StatusRequestHeaderFieldsTooLarge,
		http.StatusInternalServerError:
		e.odd = true
	}
	switch {
	case 200 <= status && status < 300:
		e.detail += ": 200 means that there is such a recipient, 404 that there is none, and this neither"
	case 300 <= status && status < 400:
		e.detail += ": it points elsewhere, and the token is not carried there: write the final URL"
	}
	return false, e
}

// why is an error in one line. The URL is left out of it: it may hold a secret.
func (s *Source) why(err error) string {
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Sprintf("no answer within %v", s.cfg.Timeout)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	text := strings.Join(strings.Fields(strings.ToValidUTF8(err.Error(), "?")), " ")
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "…"
	}
	return text
}
