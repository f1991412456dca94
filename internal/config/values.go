package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"backstop/internal/listen"
	"backstop/internal/mail"
	"backstop/internal/route"
)

// text takes a text and what parse makes of it.
func text[T any](dst *T, parse func(string) (T, error)) setter {
	return func(d *decoder, n *node) {
		if v, ok := one(d, n, parse); ok {
			*dst = v
		}
	}
}

func one[T any](d *decoder, n *node, parse func(string) (T, error)) (v T, ok bool) {
	if !d.want(n, kindText) {
		return v, false
	}
	v, err := parse(n.text)
	if err != nil {
		d.badValue(n, err)
		return v, false
	}
	return v, true
}

// list takes a list of texts. Each that is wrong is reported for itself.
func list[T any](dst *[]T, parse func(string) (T, error)) setter {
	return func(d *decoder, n *node) {
		*dst = nil
		if !d.want(n, kindArray) {
			return
		}
		for _, e := range n.elems {
			if v, ok := one(d, e, parse); ok {
				*dst = append(*dst, v)
			}
		}
	}
}

// orNone lets "" stand for nothing, the zero value.
func orNone[T any](parse func(string) (T, error)) func(string) (T, error) {
	return func(s string) (v T, err error) {
		if s == "" {
			return v, nil
		}
		return parse(s)
	}
}

func anyText(s string) (string, error) {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("%q holds a control character", s)
	}
	return s, nil
}

func someText(s string) (string, error) {
	if s == "" {
		return "", errors.New("this may not be empty")
	}
	return anyText(s)
}

// choice takes one of the names; the index is the value.
func choice[T ~uint8](dst *T, names ...string) setter {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = strconv.Quote(n)
	}
	all := strings.Join(quoted[:len(names)-1], ", ") + " or " + quoted[len(names)-1]
	take := text(dst, func(s string) (T, error) {
		for i, n := range names {
			if n == s {
				return T(i), nil
			}
		}
		hint := "write " + all
		if near := nearest(s, names); near != "" {
			hint = "did you mean \"" + near + "\"?"
		}
		return 0, hinted{fmt.Sprintf("%q is not known", s), hint}
	})
	return func(d *decoder, n *node) {
		if n.kind != kindText { // quotes alone would not do
			d.bad(n, "write "+d.key+" = "+all, "a text is wanted, this is %s", n.kind)
			return
		}
		take(d, n)
	}
}

// integer takes a whole number between low and high.
func integer[T ~int | ~int64](dst *T, low, high int64) setter {
	return func(d *decoder, n *node) {
		if !d.want(n, kindInteger) {
			return
		}
		v, err := strconv.ParseInt(strings.TrimPrefix(n.text, "+"), 0, 64)
		if err != nil || v < low || v > high {
			d.bad(n, fmt.Sprintf("it is between %d and %d", low, high), "%s is out of range", n.text)
			return
		}
		*dst = T(v)
	}
}

// size takes octets, as a text with a unit or as a bare number.
func size(dst *int64, low, high int64) setter {
	return func(d *decoder, n *node) {
		v := int64(-1)
		if n.kind == kindInteger {
			integer(&v, 0, 1<<62)(d, n)
		} else if got, ok := one(d, n, parseSize); ok {
			v = got
		}
		if v < 0 {
			return
		}
		if v < low || v > high {
			d.bad(n, fmt.Sprintf("it is between %s and %s", formatSize(low), formatSize(high)), "%s is out of range", n.text)
			return
		}
		*dst = v
	}
}

const (
	anyTime = 10 * 365 * 24 * time.Hour // the longest that makes any sense
	day     = 24 * time.Hour
)

// duration takes a length of time between low and high.
func duration(dst *time.Duration, low, high time.Duration) setter {
	return func(d *decoder, n *node) {
		if n.kind == kindInteger || n.kind == kindFloat {
			d.bad(n, fmt.Sprintf("write the unit too: %s = \"%ss\"", d.key, n.text), "a length of time is wanted, this is a bare number")
			return
		}
		v, ok := one(d, n, parseDuration)
		if !ok {
			return
		}
		if v < low || v > high {
			d.bad(n, fmt.Sprintf("it is between %s and %s", formatDuration(low), formatDuration(high)), "%s is out of range", n.text)
			return
		}
		*dst = v
	}
}

func boolean(dst *bool) setter {
	return func(d *decoder, n *node) {
		if d.want(n, kindBool) {
			*dst = n.text == "true"
		}
	}
}

// parsePrefix reads a network, or one address.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, hinted{fmt.Sprintf("%q is not a network", s), `a network is written "192.0.2.0/24" or "2001:db8::/32", one address "192.0.2.1"`}
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, hinted{fmt.Sprintf("%q is an IPv4 network in IPv6 clothes", s), "write the IPv4 network itself"}
	}
	if p != p.Masked() {
		return netip.Prefix{}, hinted{fmt.Sprintf("%q has bits set beyond the prefix", s), fmt.Sprintf("write %q for the network or %q for the address", p.Masked(), p.Addr())}
	}
	return p, nil
}

// networks takes a list of networks, and warns where that is everybody.
func networks(dst *[]netip.Prefix, everybody string) setter {
	take := list(dst, parsePrefix)
	return func(d *decoder, n *node) {
		take(d, n)
		for _, e := range n.elems {
			if p, err := parsePrefix(e.text); err == nil && p.Bits() == 0 {
				d.warn(e.at, everybody, "%s: %q is everybody", d.key, e.text)
			}
		}
	}
}

// sockets takes a list of listeners, none of them twice in the whole file.
func sockets(dst *[]listen.Spec) setter {
	return func(d *decoder, n *node) {
		*dst = nil
		if !d.want(n, kindArray) {
			return
		}
		for _, e := range n.elems {
			if s, ok := d.socket(e); ok {
				*dst = append(*dst, s)
			}
		}
	}
}

func (d *decoder) socket(n *node) (listen.Spec, bool) { return d.socketAs(n, listen.Parse) }

func (d *decoder) socketAs(n *node, parse func(string) (listen.Spec, error)) (listen.Spec, bool) {
	s, ok := one(d, n, parse)
	if !ok {
		return s, ok
	}
	if s.Network != "systemd" && !strings.HasSuffix(s.Address, ":0") {
		if first, taken := d.listened[s.Address]; taken {
			d.bad(n, "", "%s is listened on already%s", s, since(first))
			return s, false
		}
		d.listened[s.Address] = n.at
	}
	return s, true
}

// parseResolver reads a DNS server, port 53 where none is given.
func parseResolver(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, 53), nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil || ap.Port() == 0 {
		return netip.AddrPort{}, hinted{fmt.Sprintf("%q is not the address of a DNS server", s), `write "192.0.2.53" or "[2001:db8::53]:53"`}
	}
	return ap, nil
}

// parseMailbox reads an address that has a domain.
func parseMailbox(s string) (mail.Address, error) {
	a, err := mail.ParseAddress(s)
	if err != nil {
		return a, fmt.Errorf("%q: %w", s, err)
	}
	if a.Domain() == "" {
		return a, hinted{fmt.Sprintf("%q has no domain", s), "write user@domain"}
	}
	return a, nil
}

// parseRelay reads a relay URL.
func parseRelay(s string) (route.Relay, error) {
	r, err := route.ParseRelay(s)
	var bad *route.RelayError
	if errors.As(err, &bad) {
		return r, hinted{strconv.Quote(bad.URL) + ": " + bad.Problem, bad.Hint()}
	}
	return r, err
}

// parseSender reads an envelope sender: an address, or <> or "" for the null sender.
func parseSender(s string) (mail.ReversePath, error) {
	if s == "" || s == "<>" {
		return mail.ReversePath{}, nil
	}
	a, err := parseMailbox(strings.TrimSuffix(strings.TrimPrefix(s, "<"), ">"))
	return mail.ReversePath{Address: a}, err
}

// secret takes a password from the file itself.
func secret(dst *Secret) setter {
	return text(dst, func(s string) (Secret, error) { return Secret{s}, nil })
}

// maxSecret bounds a password file: more is a mistaken path.
const maxSecret = 64 << 10

// secretFile takes a password from a file of its own, without its line end.
func secretFile(dst *Secret) setter {
	return func(d *decoder, n *node) {
		path, ok := one(d, n, someText)
		if !ok {
			return
		}
		data, ok := d.readSecret(n, path, "make it, with the secret on one line and nothing else; the daemon's user must be able to read it")
		switch value := strings.TrimRight(string(data), "\r\n"); {
		case !ok:
		case value == "" || strings.ContainsAny(value, "\r\n\x00"):
			d.bad(n, "the file holds the password on one line and nothing else", "%s is not a password file", path)
		default:
			*dst = Secret{value}
		}
	}
}

// readSecret reads a small file that nobody else should read, and warns where everybody can. from says where such a
// file comes from.
func (d *decoder) readSecret(n *node, path, from string) ([]byte, bool) {
	f, err := os.Open(d.path(path))
	if err != nil {
		switch full := d.path(path); {
		case errors.Is(err, fs.ErrPermission):
			from = "let the user read it who runs the daemon: chgrp backstop " + full + " && chmod 640 " + full
		case full != path:
			from = "it was looked for as " + full + "; " + from
		}
		d.cannotRead(n, path, err, from)
		return nil, false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		d.cannotRead(n, path, err, "name a file in it, or another one")
		return nil, false
	case len(data) > maxSecret:
		d.bad(n, "name the file that holds the secret and nothing else", "%s is too large", path)
		return nil, false
	}
	if info, err := f.Stat(); err == nil && info.Mode().Perm()&0o004 != 0 {
		d.warn(n.at, "take that right away: chmod o= "+d.path(path), "%s: every user of this machine can read %s", d.key, path)
	}
	return data, true
}

// fileError words the error of a file by the name that the configuration gives it.
func fileError(name string, err error) error {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok || inner.Unwrap() == nil {
			return fmt.Errorf("cannot read %s: %w", name, err)
		}
		err = inner.Unwrap()
	}
}

// stateFolder takes the folder for the state, which need not be there yet.
func (d *decoder) stateFolder(dst *string) setter {
	return func(d *decoder, n *node) {
		s, ok := one(d, n, anyText)
		scheme, _, isURL := strings.Cut(s, "://")
		switch {
		case !ok || s == "":
		case isURL && (scheme == "postgres" || scheme == "postgresql"):
			d.notYet(n.at, "state on PostgreSQL")
		case isURL:
			d.bad(n, "write the path of a folder", "state is not kept at %s://", scheme)
		default:
			*dst = d.path(s)
			if info, err := os.Stat(*dst); err == nil && !info.IsDir() {
				d.bad(n, "write the path of a folder", "%s is not a folder", s)
			}
		}
	}
}
