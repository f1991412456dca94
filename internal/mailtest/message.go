package mailtest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

// Texture is what the lines of a generated message look like.
type Texture uint8

const (
	Plain    Texture = iota // 7-bit lines of ordinary length, some of which begin with dots
	EightBit                // the same with octets above 127
	LongLine                // lines of 996 to 998 octets, the most that RFC 5321, 4.5.3.1.6 allows
)

var textureNames = map[string]Texture{"": Plain, "7bit": Plain, "8bit": EightBit, "long": LongLine}

// Generate makes a message of exactly size octets (at least 64) that ends in
// CRLF and contains no bare CR or LF. The same seed gives the same message;
// different seeds give messages that differ in their first header line.
func Generate(seed uint64, size int, tex Texture) []byte {
	if size < 64 {
		size = 64
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "X-Test: %016x\r\nSubject: generated\r\n\r\n", seed)
	r := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	for b.Len() < size {
		left := size - b.Len()
		n := 1 + r.IntN(76)
		if tex == LongLine {
			n = 996
		}
		// A line takes n+2 octets; what remains must be nothing or room for another whole line.
		if n+2 > left || left-(n+2) < 3 {
			n = left - 2
		}
		writeLine(&b, r, n, tex)
	}
	return b.Bytes()
}

func writeLine(b *bytes.Buffer, r *rand.Rand, n int, tex Texture) {
	const letters = ".abcdefghijklmnopqrstuvwxyz 0123456789.="
	for i := range n {
		switch {
		case i == 0 && r.IntN(4) == 0:
			b.WriteByte('.')
		case tex == EightBit && r.IntN(3) == 0:
			b.WriteByte(byte(0x80 + r.IntN(0x80)))
		default:
			b.WriteByte(letters[r.IntN(len(letters))])
		}
	}
	b.WriteString("\r\n")
}

// stuff returns the message as it travels after DATA, without the end: a dot is
// put before each line that begins with one (RFC 5321, 4.5.2).
func stuff(m []byte) []byte {
	out := make([]byte, 0, len(m)+len(m)/32)
	start := true
	for _, c := range m {
		if start && c == '.' {
			out = append(out, '.')
		}
		out = append(out, c)
		start = c == '\n'
	}
	return out
}
