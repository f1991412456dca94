package maillog

import "bytes"

// unbracket takes the angle brackets off.
func unbracket(b []byte) []byte {
	if n := len(b); n >= 2 && b[0] == '<' && b[n-1] == '>' {
		return b[1 : n-1]
	}
	return b
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}

// word takes what stands before the next blank off.
func word(b []byte) (first, rest []byte) {
	if i := bytes.IndexByte(b, ' '); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// after returns what follows the prefix.
func after(b []byte, prefix string) ([]byte, bool) {
	if len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix {
		return b[len(prefix):], true
	}
	return b, false
}

// path takes a "<address>" off the beginning, in which a quoted local part may hold anything.
func path(b []byte) (address, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '<' {
		return nil, b, false
	}
	quoted := false
	for i := 1; i < len(b); i++ {
		switch {
		case b[i] == '\\' && quoted:
			i++
		case b[i] == '"':
			quoted = !quoted
		case b[i] == '>' && !quoted:
			return b[1:i], b[i+1:], true
		}
	}
	// An odd quote: then up to the first bracket.
	if i := bytes.IndexByte(b, '>'); i > 0 {
		return b[1:i], b[i+1:], true
	}
	return nil, b, false
}

// between returns what stands between the last opening and its closing mark: "name[192.0.2.1]:25" has 192.0.2.1.
func between(b []byte, open, end byte) []byte {
	i := bytes.IndexByte(b, open)
	if i < 0 {
		return nil
	}
	if j := bytes.IndexByte(b[i:], end); j > 0 {
		return b[i+1 : i+j]
	}
	return nil
}

// number reads digits.
func number(b []byte) (n int, ok bool) {
	if len(b) == 0 || len(b) > 9 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// leading reads the digits with which b begins.
func leading(b []byte) int {
	i := 0
	for i < len(b) && i < 9 && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	n, _ := number(b[:i])
	return n
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func alnum(c byte) bool { return digit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// hash is FNV-1a, 64 bits.
func hash(h uint64, b []byte) uint64 {
	if h == 0 {
		h = 14695981039346656037
	}
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// Private tells an address that no stranger has: loopback, private, link-local, shared (RFC 1918, 4193, 6598). What is no address is private, too:
// a socket, or a name without one.
func Private(a []byte) bool {
	a, _ = after(a, "IPv6:")
	a, _ = after(a, "::ffff:")
	if bytes.IndexByte(a, ':') >= 0 {
		return string(a) == "::1" || len(a) > 4 && (a[0]|0x20) == 'f' && ((a[1]|0x20) == 'c' || (a[1]|0x20) == 'd' || (a[1]|0x20) == 'e' && a[2] >= '8')
	}
	var o [2]int
	rest := a
	for i := range o {
		dot := bytes.IndexByte(rest, '.')
		n, ok := number(rest[:max(dot, 0)])
		if !ok {
			return true
		}
		o[i], rest = n, rest[dot+1:]
	}
	switch o[0] {
	case 10, 127, 0:
		return true
	case 172:
		return o[1] >= 16 && o[1] < 32
	case 192:
		return o[1] == 168
	case 169:
		return o[1] == 254
	case 100:
		return o[1] >= 64 && o[1] < 128
	}
	return false
}

// Loopback tells an address of the machine itself.
func Loopback(a []byte) bool {
	a, _ = after(a, "IPv6:")
	a, _ = after(a, "::ffff:")
	return string(a) == "::1" || bytes.HasPrefix(a, []byte("127."))
}

// portOf returns the port behind an address in square brackets: "name [192.0.2.1]:25 …" has 25.
func portOf(b []byte) []byte {
	i := bytes.LastIndex(b, []byte("]:"))
	if i < 0 {
		return nil
	}
	port := b[i+2:]
	for j, c := range port {
		if !digit(c) {
			return port[:j]
		}
	}
	return port
}
