package sqldir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// greeted looks at the first packet of a MySQL server before the driver does, which would
// panic over one that is too short, and leave a goroutine behind each time.
type greeted struct {
	net.Conn
	first []byte // what was read and not handed on yet
}

// dialGreeted is wires.dial for MySQL, where the server speaks first.
func (w *wires) dialGreeted(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := w.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { nc.SetReadDeadline(time.Unix(1, 0)) })
	first, err := readGreeting(nc)
	if !stop() || err != nil {
		nc.Close()
		if err == nil || ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return &greeted{Conn: nc, first: first}, nil
}

const (
	packetHead  = 4       // length in three octets, number
	maxGreeting = 4 << 10 // octets; real ones have less than 200
	errorPacket = 0xff
)

var errNoGreeting = errors.New("what answers there is no MySQL server: look at host and port")

// Read hands on the greeting, and then what comes.
func (g *greeted) Read(p []byte) (int, error) {
	if len(g.first) > 0 {
		n := copy(p, g.first)
		g.first = g.first[n:]
		return n, nil
	}
	return g.Conn.Read(p)
}

// readGreeting reads and checks the first packet (MySQL's Protocol::HandshakeV10, or an error).
func readGreeting(from io.Reader) ([]byte, error) {
	b := make([]byte, packetHead, 256)
	if _, err := io.ReadFull(from, b); err != nil {
		return nil, fmt.Errorf("no greeting came: %w", err)
	}
	length := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	if length < 4 || length > maxGreeting {
		return nil, errNoGreeting
	}
	b = append(b, make([]byte, length)...)
	payload := b[packetHead:]
	if _, err := io.ReadFull(from, payload); err != nil {
		return nil, fmt.Errorf("no greeting came: %w", err)
	}
	if payload[0] == errorPacket {
		if payload[3] == '#' && length < 9 { // the state behind it has five octets
			return nil, errNoGreeting
		}
	} else if version := bytes.IndexByte(payload[1:], 0); version < 0 || length < 1+version+1+ // the version, then:
		4+8+1+2+ // number of the connection, first part of the challenge, filler, capabilities,
		1+2+2+1+10+13 { // character set, status, capabilities, length, reserved, second part of the challenge
		return nil, errNoGreeting
	}
	return b, nil
}

// SyscallConn lets the driver look whether the server has hung up.
func (g *greeted) SyscallConn() (syscall.RawConn, error) {
	s, ok := g.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("it has no descriptor")
	}
	return s.SyscallConn()
}
