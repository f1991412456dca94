package main

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

// startSink serves a sink inside the test.
func startSink(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go new(sink).serve(l)
	return l.Addr().String()
}

func TestSessionsAgainstTheSink(t *testing.T) {
	addr := startSink(t)
	message := exampleMessage(4096)
	for name, l := range map[string]load{
		"lock-step": {addr: addr, unknown: 5},
		"pipelined": {addr: addr, unknown: 5, pipelined: true},
		"message":   {addr: addr, message: message, listed: 1000},
	} {
		w := newWorker(l)
		for range 3 {
			if err := w.session(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if n, err := sinkCount(addr); n != 3 || err != nil {
		t.Errorf("%d messages arrived (%v), sent were 3", n, err)
	}
}

func TestPacedStartsEverySession(t *testing.T) {
	l := load{addr: startSink(t), unknown: 1}
	got, err := l.paced(context.Background(), 3, 1000, 20*time.Millisecond)
	if err != nil || got.sessions != 20 || len(got.latencies) != 20 {
		t.Errorf("%d sessions, %d latencies, %v; want 20 of each", got.sessions, len(got.latencies), err)
	}
}

func TestWrongReplyIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if conn, err := l.Accept(); err == nil {
			defer conn.Close()
			_, _ = conn.Write([]byte("421 4.3.2 closing\r\n"))
		}
	}()
	_, err = load{addr: l.Addr().String(), unknown: 1}.run(context.Background(), 1, time.Hour)
	if err == nil || !strings.Contains(err.Error(), "421 4.3.2 closing") {
		t.Errorf("got %v, want the server's own words", err)
	}
}

func TestAppendUser(t *testing.T) {
	for n, want := range map[int]string{0: "user0000000", 42: "user0000042", 9_999_999: "user9999999"} {
		if got := string(appendUser(nil, n)); got != want {
			t.Errorf("appendUser(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestExampleMessage(t *testing.T) {
	m := exampleMessage(4096)
	if len(m) > 4096 || len(m) < 4000 {
		t.Errorf("%d octets", len(m))
	}
	if !bytes.HasSuffix(m, []byte("\r\n.\r\n")) || bytes.Count(m, []byte("\r\n.")) != 1 {
		t.Error("does not end in its only dot")
	}
	if bytes.Count(m, []byte("\n")) != bytes.Count(m, []byte("\r\n")) {
		t.Error("has a bare LF")
	}
}
