package rig

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"backstop/internal/mailtest"
)

// Password is everybody's at a Beside of the kind "postfix", the only one that lets clients log in.
const Password = "open sesame"

// LogIn logs a client in behind EHLO (AUTH PLAIN, RFC 4616); the test fails where the server does not let it.
func LogIn(t testing.TB, k *mailtest.Talk, user string) {
	t.Helper()
	said := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + Password))
	if r := k.Ask(t, "AUTH PLAIN "+said); r.Code != 235 {
		t.Fatalf("the login of %s: %s", user, r)
	}
}

// newLogins starts what a Postfix asks who may log in, in the protocol of Dovecot's auth server, version 1.1, and
// returns its host:port.
func newLogins(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var open []net.Conn
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 1; ; n++ {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, nc)
			mu.Unlock()
			wg.Go(func() { answerLogins(nc, n) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, nc := range open {
			nc.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr().String()
}

func answerLogins(nc net.Conn, n int) {
	defer nc.Close()
	fmt.Fprintf(nc, "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t%d\nCOOKIE\t00112233445566778899aabbccddeeff\nDONE\n", n)
	for lines := bufio.NewScanner(nc); lines.Scan(); {
		f := strings.Split(lines.Text(), "\t")
		if f[0] != "AUTH" || len(f) < 3 {
			continue
		}
		said, _ := strings.CutPrefix(f[len(f)-1], "resp=")
		plain, _ := base64.StdEncoding.DecodeString(said)
		user, password, _ := strings.Cut(strings.TrimPrefix(string(plain), "\x00"), "\x00")
		answer := "FAIL"
		if password == Password {
			answer = "OK"
		}
		fmt.Fprintf(nc, "%s\t%s\tuser=%s\n", answer, f[1], user)
	}
}
