package mailtest

import (
	"fmt"
	"testing"
)

// Sweep plays a dialogue against a downstream that dies at every octet of the
// conversation: once for each number of octets that the mock has sent and for
// each that it has read, by an orderly end and by RST. open gives the stage of
// each turn, a fresh gateway if there is one; the mock is the stage's, and is set
// to the script with the cut in it before open is called.
//
// The invariant is checked after every step, and no fault may show as a 5xx
// where the dialogue expects none. Octets count from the start of a turn, so the
// mock must have no connection open from before: open must have ended them.
func Sweep(t testing.TB, d *Dialogue, m *Mock, s Script, open func(testing.TB) Stage) {
	t.Helper()
	m.Set(s)
	m.Forget()
	func() {
		sc := &scope{TB: t}
		defer sc.end()
		d.Play(sc, open(sc))
	}()
	in, out := 0, 0
	for _, w := range m.Wires() {
		in, out = max(in, len(w.In)), max(out, len(w.Out))
	}
	turn := func(what string, n int, cut Script) {
		m.Hangup()
		m.WaitIdle(t)
		m.Forget()
		m.Set(cut)
		sc := &scope{TB: t}
		defer sc.end()
		stage := open(sc)
		stage.Shaken = true
		named := *d
		named.Name = fmt.Sprintf("%s (downstream dies after %d octets %s, reset %v)", d.Name, n, what, cut.ResetCut)
		named.Play(sc, stage)
	}
	for _, s.ResetCut = range []bool{false, true} {
		for n := 0; n <= out; n++ {
			cut := s
			cut.CutSent = After(int64(n))
			turn("sent", n, cut)
		}
		for n := 0; n <= in; n++ {
			cut := s
			cut.CutReceived = After(int64(n))
			turn("read", n, cut)
		}
	}
	m.Set(s)
}
