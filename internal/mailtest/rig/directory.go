package rig

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// directory answers Postfix who exists, over the socketmap protocol (Postfix's
// socketmap_table(5)), so that users can come and go while it runs.
type directory struct {
	addr string
	mu   sync.Mutex
	yes  []string
	open map[net.Conn]bool
}

func newDirectory(t testing.TB, users []string) *directory {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &directory{addr: ln.Addr().String(), open: map[net.Conn]bool{}}
	d.set(users)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.open[nc] = true
			d.mu.Unlock()
			wg.Go(func() { d.serve(nc) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		d.mu.Lock()
		for nc := range d.open {
			nc.Close()
		}
		d.mu.Unlock()
		wg.Wait()
	})
	return d
}

func (d *directory) table() string { return "socketmap:inet:" + d.addr + ":recipients" }

func (d *directory) set(users []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.yes = nil
	for _, u := range users {
		if !strings.Contains(u, "@") {
			u += "@" + Domain
		}
		d.yes = append(d.yes, plainAddress(u))
	}
}

// plainAddress is how addresses are compared: without case and without quotes,
// as a table may be asked for either form.
func plainAddress(a string) string {
	return strings.ToLower(strings.NewReplacer(`"`, "", `\`, "").Replace(a))
}

func (d *directory) has(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.yes, plainAddress(key))
}

func (d *directory) serve(nc net.Conn) {
	defer nc.Close()
	r := bufio.NewReader(nc)
	for {
		q, err := netstring(r)
		if err != nil {
			return
		}
		_, key, _ := strings.Cut(q, " ")
		a := "NOTFOUND "
		if d.has(key) {
			a = "OK yes"
		}
		if _, err := fmt.Fprintf(nc, "%d:%s,", len(a), a); err != nil {
			return
		}
	}
}

func netstring(r *bufio.Reader) (string, error) {
	head, err := r.ReadString(':')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(head, ":"))
	if err != nil || n < 0 || n > 100_000 {
		return "", fmt.Errorf("not a netstring: %q", head)
	}
	b := make([]byte, n+1)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", err
	}
	return string(b[:n]), nil
}
