package maillog

import (
	"bytes"
	"io"
)

// blockSize is how much is read at once.
const blockSize = 256 << 10

// Scan reads lines until r ends, and gives each to f without its end. Of one that is longer than MaxLine it gives the
// first MaxLine+1 octets. The octets are good until f returns. f says whether to go on.
func Scan(r io.Reader, f func(line []byte) bool) error {
	buf := make([]byte, 0, blockSize)
	skipping := false // the rest of a line that was too long
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		rest := buf
		for {
			i := bytes.IndexByte(rest, '\n')
			if i < 0 {
				break
			}
			line := rest[:i]
			rest = rest[i+1:]
			if skipping {
				skipping = false
				continue
			}
			if !f(line[:min(len(line), MaxLine+1)]) {
				return nil
			}
		}
		if skipping {
			rest = rest[:0]
		} else if len(rest) > MaxLine {
			if !f(rest[:MaxLine+1]) {
				return nil
			}
			rest, skipping = rest[:0], true
		}
		buf = buf[:copy(buf[:cap(buf)], rest)]
		if err != nil {
			if err != io.EOF {
				return err
			}
			if len(buf) > 0 {
				f(buf)
			}
			return nil
		}
	}
}
