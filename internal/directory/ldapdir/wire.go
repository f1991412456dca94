package ldapdir

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// How many octets one answer may have.
const (
	questionOctets = 1 << 20
	pageOctets     = 64 << 20
)

var (
	errTooMuch  = errors.New("the server sends more than it was asked for")
	errLate     = errors.New("no answer in time")
	errNoTLS    = errors.New("the server refuses StartTLS, and nothing is asked in clear text where it is wanted")
	errNonsense = errors.New("what the server sends is not LDAP")
)

// wire is the connection below TLS. It bounds what the library does not: how
// much an answer has, and how long it pauses.
type wire struct {
	net.Conn
	left  atomic.Int64 // octets that may still come
	watch atomic.Pointer[watch]
}

// watch closes a wire that says nothing for too long.
type watch struct {
	patience time.Duration
	timer    *time.Timer
	barked   atomic.Bool
}

// Read is net.Conn's.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if d := w.watch.Load(); d != nil && n > 0 {
		d.timer.Reset(d.patience)
	}
	if w.left.Add(-int64(n)) < 0 {
		return 0, errTooMuch
	}
	return n, err
}

// patient runs f and closes the wire when nothing comes for so long.
func (w *wire) patient(d time.Duration, f func() error) error {
	dog := &watch{patience: d}
	dog.timer = time.AfterFunc(d, func() {
		dog.barked.Store(true)
		w.Close()
	})
	w.watch.Store(dog)
	err := f()
	w.watch.Store(nil)
	dog.timer.Stop()
	if err != nil && dog.barked.Load() {
		return errLate
	}
	return err
}

// dial connects to the server, with TLS where that is asked for.
func (s *Source) dial(ctx context.Context, srv *server) (*wire, net.Conn, error) {
	network, address := srv.address()
	nc, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, nil, err
	}
	w := &wire{Conn: nc}
	w.left.Store(questionOctets)
	if srv.url.Scheme != "ldaps" && !s.cfg.StartTLS {
		return w, w, nil
	}
	stop := context.AfterFunc(ctx, func() { w.Close() })
	defer stop()
	if s.cfg.StartTLS {
		if err := startTLS(w); err != nil {
			w.Close()
			return nil, nil, err
		}
	}
	cfg := &tls.Config{}
	if s.cfg.TLSConfig != nil {
		cfg = s.cfg.TLSConfig.Clone()
	}
	cfg.ServerName = srv.url.Hostname()
	secure := tls.Client(w, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		w.Close()
		return nil, nil, &handshakeError{err}
	}
	return w, secure, nil
}

// startTLS asks for TLS (RFC 4511, 4.14). It is done before the library has the
// connection, which would hide from us why a handshake failed. The answer is read octet by octet,
// so nothing that somebody adds in clear text behind it is ever taken for an answer.
func startTLS(w *wire) error {
	const oid = "1.3.6.1.4.1.1466.20037"
	m := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	m.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 1, ""))
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationExtendedRequest, nil, "")
	op.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, oid, ""))
	m.AppendChild(op)
	if _, err := w.Write(m.Bytes()); err != nil {
		return err
	}
	answer, err := ber.ReadPacket(w)
	if err != nil {
		return fmt.Errorf("asking for StartTLS: %w", err)
	}
	if len(answer.Children) < 2 || answer.Children[1].Tag != ldap.ApplicationExtendedResponse {
		return errNonsense
	}
	if err := ldap.GetLDAPError(answer); err != nil {
		return fmt.Errorf("%w: %s", errNoTLS, short(err))
	}
	return nil
}

// handshakeError: TLS did not come about.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }
