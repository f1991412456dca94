package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	wire "backstop/internal/postfix"
)

// asker is one connection to a door beside an MTA, which is kept. Each ask is one question, or one transaction, and
// an answer that is not the right one is an error.
type asker interface {
	ask() error
	SetDeadline(time.Time) error
	Close() error
}

// pool are askers that work side by side.
type pool []asker

// openPool opens n connections. Those that it has opened it returns in any case.
func openPool(n int, dial func() (asker, error)) (pool, error) {
	var p pool
	for range n {
		a, err := dial()
		if err != nil {
			return p, fmt.Errorf("after %d connections: %w", len(p), err)
		}
		p = append(p, a)
	}
	return p, nil
}

func (p pool) close() {
	for _, a := range p {
		_ = a.Close()
	}
}

// run keeps all of them asking for a time, and adds each right answer to answers. The first wrong one ends it.
func (p pool) run(ctx context.Context, d time.Duration, answers *atomic.Int64) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	end := time.Now().Add(d)
	_ = p.each(func(a asker) error {
		err := a.SetDeadline(end.Add(sessionTimeout))
		for err == nil && ctx.Err() == nil && time.Now().Before(end) {
			if err = a.ask(); err == nil {
				answers.Add(1)
			}
		}
		if err != nil {
			stop(err)
		}
		return nil
	})
	return context.Cause(ctx)
}

// once has each of them ask n times.
func (p pool) once(n int, answers *atomic.Int64) error {
	return p.each(func(a asker) error {
		if err := a.SetDeadline(time.Now().Add(sessionTimeout)); err != nil {
			return err
		}
		for range n {
			if err := a.ask(); err != nil {
				return err
			}
			answers.Add(1)
		}
		return nil
	})
}

func (p pool) each(f func(asker) error) error {
	failures := make([]error, len(p))
	var all sync.WaitGroup
	for i, a := range p {
		all.Go(func() { failures[i] = f(a) })
	}
	all.Wait()
	return errors.Join(failures...)
}

// recipients is which recipients an asker asks for.
type recipients uint8

const (
	listedUsers     recipients = iota // in the list
	listedStrangers                   // a new one each time, of a domain whose list has them not
	cachedUsers                       // of the domain that is asked of its downstream, remembered
	cachedStrangers
	allRecipients // all four in turn
)

// numCached is how many of each kind are remembered.
const numCached = 200

// whom makes up recipients of a kind.
type whom struct {
	people
	kind recipients
	n    int
	out  []byte
}

func newWhom(kind recipients, listed int) whom { return whom{people: newPeople(listed), kind: kind} }

// next is the next recipient, and whether he exists.
func (w *whom) next() (address string, exists bool) {
	kind := w.kind
	if kind == allRecipients {
		kind = recipients(w.n % int(allRecipients))
	}
	w.n++
	switch kind {
	case listedUsers:
		w.out = w.someone(w.out[:0])
	case listedStrangers:
		w.out = w.nobody(w.out[:0])
	case cachedUsers:
		w.out = appendCached(w.out[:0], "user.cached.", w.n)
	default:
		w.out = appendCached(w.out[:0], "nobody.cached.", w.n)
	}
	return string(w.out), kind == listedUsers || kind == cachedUsers
}

func appendCached(out []byte, local string, n int) []byte {
	out = strconv.AppendInt(append(out, local...), int64(n%numCached), 10)
	return append(out, "@"+askedDomain...)
}

// policyAsker is an smtpd of Postfix that asks the policy service at RCPT, for one recipient of each message: the
// dearest case, as no two questions are about the same message.
type policyAsker struct {
	net.Conn
	whom
	client   *wire.PolicyClient
	attrs    []wire.Attr
	instance int
}

// The attributes that change from question to question, by their place.
const (
	attrRecipient = iota
	attrInstance
)

// policyAttrs are those that Postfix 3.7 sends.
func policyAttrs() []wire.Attr {
	attrs := []wire.Attr{
		attrRecipient: {Name: "recipient"}, attrInstance: {Name: "instance"},
		{Name: "protocol_state", Value: "RCPT"}, {Name: "protocol_name", Value: "ESMTP"}, {Name: "client_address", Value: strangeClient},
		{Name: "client_name", Value: "unknown"}, {Name: "client_port", Value: "40000"}, {Name: "reverse_client_name", Value: "unknown"},
		{Name: "server_address", Value: "192.0.2.25"}, {Name: "server_port", Value: "25"}, {Name: "helo_name", Value: "load.bench.example"},
		{Name: "sender", Value: "sender@" + knownDomain}, {Name: "recipient_count", Value: "0"}, {Name: "size", Value: "0"},
	}
	for _, name := range []string{"queue_id", "etrn_domain", "stress", "sasl_method", "sasl_username", "sasl_sender", "ccert_subject", "ccert_issuer",
		"ccert_fingerprint", "ccert_pubkey_fingerprint", "encryption_protocol", "encryption_cipher", "encryption_keysize", "policy_context"} {
		attrs = append(attrs, wire.Attr{Name: name})
	}
	return attrs
}

func dialPolicy(addr string, kind recipients, listed int) (asker, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &policyAsker{Conn: conn, whom: newWhom(kind, listed), client: wire.NewPolicyClient(conn), attrs: policyAttrs()}, nil
}

func (a *policyAsker) ask() error {
	to, exists := a.next()
	a.instance++
	a.attrs[attrRecipient].Value = to
	a.attrs[attrInstance].Value = fmt.Sprintf("%x.%x.0", a.id, a.instance)
	action, err := a.client.Ask(a.attrs...)
	switch {
	case err != nil:
		return fmt.Errorf("policy, %s: %w", to, err)
	case exists && action != "DUNNO", !exists && !strings.HasPrefix(action, "550 5.1.1 "):
		return fmt.Errorf("policy, %s was answered %q", to, action)
	}
	return nil
}

// mapAsker asks a map for recipients.
type mapAsker struct {
	net.Conn
	whom
	name   string // "socketmap" or "tcp_table"
	lookup func(key string) (wire.MapAnswer, error)
}

func dialSocketmap(addr string, kind recipients, listed int) (asker, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	client := wire.NewSocketmapClient(conn)
	return &mapAsker{conn, newWhom(kind, listed), "socketmap", func(key string) (wire.MapAnswer, error) { return client.Lookup("recipients", key) }}, nil
}

func dialTable(addr string, kind recipients, listed int) (asker, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &mapAsker{conn, newWhom(kind, listed), "tcp_table", wire.NewTCPTableClient(conn).Lookup}, nil
}

func (a *mapAsker) ask() error {
	to, exists := a.next()
	want := wire.NotFound
	if exists {
		want = wire.OK
	}
	answer, err := a.lookup(to)
	switch {
	case err != nil:
		return fmt.Errorf("%s, %s: %w", a.name, to, err)
	case answer.Status != want:
		return fmt.Errorf("%s, %s was answered %v %q instead of %v", a.name, to, answer.Status, answer.Text, want)
	}
	return nil
}

// httpAsker asks GET /api/v1/lookup for the reply, as Exim does, but on one connection.
type httpAsker struct {
	net.Conn
	whom
	in      *bufio.Reader
	request []byte
}

func dialHTTP(addr string, kind recipients, listed int) (asker, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &httpAsker{Conn: conn, whom: newWhom(kind, listed), in: bufio.NewReader(conn)}, nil
}

func (a *httpAsker) ask() error {
	to, exists := a.next()
	a.request = fmt.Appendf(a.request[:0], "GET /api/v1/lookup?address=%s&client="+strangeClient+"&helo=load.bench.example&from=sender@%s HTTP/1.1\r\n"+
		"Host: gateway.bench.example\r\nAccept: text/plain\r\n\r\n", to, knownDomain)
	if _, err := a.Write(a.request); err != nil {
		return err
	}
	r, err := http.ReadResponse(a.in, nil)
	if err != nil {
		return fmt.Errorf("http, %s: %w", to, err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("http, %s: %w", to, err)
	}
	want := "550 5.1.1 "
	if exists {
		want = "250 "
	}
	if r.StatusCode != http.StatusOK || !bytes.HasPrefix(body, []byte(want)) {
		return fmt.Errorf("http, %s was answered %s, %q", to, r.Status, body)
	}
	return nil
}

// renewed is an asker that hangs up after so many questions and comes again.
type renewed struct {
	asker
	dial     func() (asker, error)
	every, n int
	deadline time.Time
}

// renew makes a dial whose askers come again.
func renew(every int, dial func() (asker, error)) func() (asker, error) {
	return func() (asker, error) {
		a, err := dial()
		return &renewed{asker: a, dial: dial, every: every}, err
	}
}

func (r *renewed) SetDeadline(t time.Time) error {
	r.deadline = t
	return r.asker.SetDeadline(t)
}

func (r *renewed) ask() error {
	if r.n++; r.n%r.every == 0 {
		_ = r.Close()
		a, err := r.dial()
		if err != nil {
			return err
		}
		r.asker = a
		if err := a.SetDeadline(r.deadline); err != nil {
			return err
		}
	}
	return r.asker.ask()
}
