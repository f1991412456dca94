package listen

import (
	"errors"
	"net"
	"net/netip"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
)

// headerTime bounds how long a trusted proxy may take for its header.
const headerTime = 10 * time.Second

var errNotTCP = errors.New("the PROXY header speaks of a client that did not come by TCP")

// Proxy takes the client's address from the PROXY header, version 1 or 2, of
// connections that come from where trusted says yes (a unix socket is asked about as the
// zero Addr). There the header is required. Connections from elsewhere are
// handed on as they are, so that one who is not trusted gains nothing by sending a header.
//
// The header is read by the first call of RemoteAddr, Read or Write, not by Accept: call
// none of these in an accept loop. Where it was missing or malformed, Read and
// Write fail, and RemoteAddr is the proxy's own address.
func Proxy(l net.Listener, trusted func(netip.Addr) bool) net.Listener {
	return &proxyproto.Listener{
		Listener: l,
		ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			if trusted(Peer(o.Upstream).Addr()) {
				return proxyproto.REQUIRE, nil
			}
			return proxyproto.SKIP, nil
		},
		ValidateHeader: func(h *proxyproto.Header) error {
			if _, ok := h.SourceAddr.(*net.TCPAddr); !ok && h.SourceAddr != nil && !h.Command.IsLocal() {
				return errNotTCP
			}
			return nil
		},
		ReadHeaderTimeout: headerTime,
	}
}

// Peer is the address of a TCP peer, IPv4 in its own form and without a zone; the zero
// AddrPort for a peer on a unix socket.
func Peer(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
