package sqldir

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/directory/health"
	"backstop/internal/evidence"

	"pgregory.net/rapid"
)

// rogue serves each connection with a function, until the other side hangs up.
func rogue(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
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
				serve(nc)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

var rogueURLs = []string{"postgres://ro:hunter2@%s/mail", "postgres://ro:hunter2@%s/mail?sslmode=disable", "mysql://ro:hunter2@%s/mail", "mysql://ro:hunter2@%s/mail?tls=preferred"}

func TestSilence(t *testing.T) {
	addr := rogue(t, func(nc net.Conn) { io.Copy(io.Discard, nc) })
	for _, u := range rogueURLs {
		s := setup{url: fmt.Sprintf(u, addr), query: "SELECT {address}", timeout: 100 * time.Millisecond}.open(t)
		expect(t, s, "alice@example.com", evidence.Unavailable, "no answer within 100ms")
		if st := s.State(); st.Condition != health.Down {
			t.Errorf("%+v", st)
		}
		s.Close() // whatever says goodbye in the background ends with it (goleak)
		l := setup{url: fmt.Sprintf(u, addr), query: "SELECT 'x'", sync: true, timeout: 100 * time.Millisecond}.open(t)
		if _, err := l.Full(context.Background(), &taker{}); err == nil || !strings.Contains(err.Error(), "no answer within 100ms") {
			t.Errorf("%v", err)
		}
	}
}

// TestNonsense: whatever a server sends is at worst an error that has no password in it.
func TestNonsense(t *testing.T) {
	var mu sync.Mutex
	var say []byte
	addr := rogue(t, func(nc net.Conn) {
		mu.Lock()
		text := say
		mu.Unlock()
		nc.Write(text)
		nc.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, nc)
	})
	starts := [][]byte{nil, {'N'}, {'S'}, {'R', 0, 0, 0, 8, 0, 0, 0, 3}, {'R', 0, 0, 0, 8, 0, 0, 0, 0}, {'E'}, {'T', 0xff, 0xff, 0xff, 0xff}, {'D', 0x7f, 0xff, 0xff, 0xff},
		greeting("x")[:20], packet(0, 0xff, 0x15, 0x04, '#'), packet(0, 10, 'x', 0), {1, 0, 0, 0, 10}, {3, 0, 0, 0, 0xff, 0x15, 0x04}, []byte("220 mail.example.com ESMTP\r\n")}
	rapid.Check(t, func(t *rapid.T) {
		mu.Lock()
		say = append(bytes.Clone(rapid.SampledFrom(starts).Draw(t, "start")), rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "bytes")...)
		mu.Unlock()
		for _, u := range rogueURLs {
			s := setup{url: fmt.Sprintf(u, addr), query: "SELECT {address}", timeout: patience}.openFor(t)
			a := s.Lookup(context.Background(), mustParse("alice@example.com"))
			s.Close()
			if a.Standing != evidence.Unavailable || a.Detail == "" || strings.Contains(a.Detail, "hunter2") || strings.ContainsAny(a.Detail, "\r\n\x1b") {
				t.Fatalf("%s: %+v", u, a)
			}
		}
	})
}

// packet is one of MySQL's.
func packet(n byte, payload ...byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	b[3] = n
	return append(b, payload...)
}

// greeting is the first packet of a MySQL server without TLS.
func greeting(plugin string) []byte {
	p := append([]byte{10}, "8.0.0\x00"...)
	p = append(p, 1, 0, 0, 0)
	p = append(p, "12345678\x00"...)
	p = append(p, 0x05, 0x82|0x01, 33, 2, 0, 0x08, 0x00, 21) // protocol 41, secure connection, plugin auth
	p = append(p, make([]byte, 10)...)
	p = append(p, "123456789012\x00"...)
	p = append(p, plugin...)
	return packet(0, append(p, 0)...)
}

// TestNoPasswordInTheClear: a server that asks for the password itself, without TLS, does not get it.
func TestNoPasswordInTheClear(t *testing.T) {
	got := make(chan []byte, 16)
	addr := rogue(t, func(nc net.Conn) {
		nc.Write(greeting("mysql_clear_password"))
		b := make([]byte, 4096)
		n, _ := nc.Read(b)
		got <- b[:n]
		nc.Write(packet(2, append([]byte{0xfe}, "mysql_clear_password\x00"...)...))
		n, _ = nc.Read(b)
		got <- b[:n]
	})
	s := setup{url: "mysql://ro:hunter2@" + addr + "/mail?tls=false", query: "SELECT {address}"}.open(t)
	expect(t, s, "alice@example.com", evidence.Unavailable, "in the clear")
	s.Close()
	for range 2 {
		if b := <-got; bytes.Contains(b, []byte("hunter2")) {
			t.Errorf("it got %q", b)
		}
	}
}

// TestNoFileForTheServer: MySQL's servers can ask clients for files (LOAD DATA LOCAL INFILE).
func TestNoFileForTheServer(t *testing.T) {
	got := make(chan []byte, 16)
	ok := []byte{0, 0, 0, 2, 0, 0, 0}
	addr := rogue(t, func(nc net.Conn) {
		b := make([]byte, 4096)
		nc.Write(greeting("mysql_native_password"))
		nc.Read(b)
		nc.Write(packet(2, ok...))
		nc.Read(b) // SET SESSION …
		nc.Write(packet(1, append([]byte{0xfb}, "/etc/passwd"...)...))
		for {
			n, err := nc.Read(b)
			if err != nil {
				break
			}
			got <- bytes.Clone(b[:n])
		}
		close(got)
	})
	s := setup{url: "mysql://ro:hunter2@" + addr + "/mail?tls=false", query: "SELECT {address}", timeout: 500 * time.Millisecond}.open(t)
	expect(t, s, "alice@example.com", evidence.Unavailable, "")
	s.Close()
	for b := range got {
		if bytes.Contains(b, []byte("root:")) {
			t.Errorf("it got %q", b)
		}
	}
}

func TestNoMySQL(t *testing.T) {
	addr := rogue(t, func(nc net.Conn) {
		io.WriteString(nc, "220 mail.example.com ESMTP\r\n")
		io.Copy(io.Discard, nc)
	})
	s := setup{url: "mysql://ro:hunter2@" + addr + "/mail", query: "SELECT {address}"}.open(t)
	expect(t, s, "alice@example.com", evidence.Unavailable, "no MySQL server")
	s = setup{url: "postgres://ro:hunter2@" + addr + "/mail?sslmode=disable", query: "SELECT {address}", timeout: time.Second}.open(t)
	t.Log(s.Lookup(t.Context(), mustParse("alice@example.com")).Detail)
}
