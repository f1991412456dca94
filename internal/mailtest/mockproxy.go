package mailtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// readProxyHeader takes a PROXY header off the connection (HAProxy's
// proxy-protocol.txt, 2.1 and 2.2) and notes the client as ADDR and PORT.
func (c *peerConn) readProxyHeader() error {
	head, err := c.r.Peek(12)
	if err != nil {
		return fmt.Errorf("no PROXY header: %w", err)
	}
	if string(head) == "\r\n\r\n\x00\r\nQUIT\n" {
		return c.proxyV2()
	}
	line, err := c.r.ReadString('\n')
	if err != nil || len(line) > 107 || !strings.HasSuffix(line, "\r\n") {
		return fmt.Errorf("not a PROXY header: %q", line)
	}
	f := strings.Fields(line)
	switch {
	case len(f) >= 2 && f[0] == "PROXY" && f[1] == "UNKNOWN":
		return nil
	case len(f) == 6 && f[0] == "PROXY" && (f[1] == "TCP4" || f[1] == "TCP6"):
		if _, err := netip.ParseAddr(f[2]); err != nil {
			return fmt.Errorf("PROXY header with a bad address: %q", line)
		}
		c.client["ADDR"], c.client["PORT"] = f[2], f[4]
		return nil
	}
	return fmt.Errorf("not a PROXY header: %q", line)
}

func (c *peerConn) proxyV2() error {
	var h [16]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		return err
	}
	rest := make([]byte, binary.BigEndian.Uint16(h[14:]))
	if _, err := io.ReadFull(c.r, rest); err != nil {
		return err
	}
	if h[12] == 0x20 { // LOCAL: the proxy speaks for itself
		return nil
	}
	var size int
	switch h[13] {
	case 0x11:
		size = 4
	case 0x21:
		size = 16
	default:
		return fmt.Errorf("PROXY version 2 of a family not known here: %#x", h[13])
	}
	if h[12] != 0x21 || len(rest) < 2*size+4 {
		return errors.New("PROXY version 2 header cut short")
	}
	a, _ := netip.AddrFromSlice(rest[:size])
	c.client["ADDR"] = a.String()
	c.client["PORT"] = strconv.Itoa(int(binary.BigEndian.Uint16(rest[2*size:])))
	return nil
}
