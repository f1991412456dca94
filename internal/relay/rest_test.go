package relay_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/relay"
)

// TestRestingGivesWay: a sender that stops after RCPT does not keep others from the
// downstream; he is the one who hears "try again", and only where somebody waits.
func TestRestingGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pipes
		d := downAt(t, "smtp://mx.test", func(o *relay.Options) { o.Dial, o.MaxConns = p.dial, 2 })
		begin := func() (*relay.Transaction, evidence.Answer) {
			tx := d.Begin(t.Context(), envelope(t))
			return tx, tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain)
		}
		lazy, a := begin()
		want(t, a, accepted, evidence.StepRcpt, 250)
		time.Sleep(time.Second) // in the bubble's time
		busy, a := begin()
		want(t, a, accepted, evidence.StepRcpt, 250)

		start := time.Now()
		other, a := begin() // all places are taken: the one that rests longest gives way
		want(t, a, accepted, evidence.StepRcpt, 250)
		if took := time.Since(start); took < 4*time.Second || took > 6*time.Second {
			t.Errorf("waited %v", took)
		}
		want(t, lazy.Rcpt(t.Context(), addr(t, "bob@d.example"), plain), unreachable, evidence.StepRcpt, 0)
		want(t, lazy.Data(t.Context(), nil, strings.NewReader("x\r\n")), unreachable, evidence.StepData, 0)
		lazy.Abort()
		time.Sleep(time.Minute) // nobody waits: resting is no fault
		want(t, busy.Rcpt(t.Context(), addr(t, "bob@d.example"), plain), accepted, evidence.StepRcpt, 250)
		busy.Abort()
		other.Abort()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if s := d.State(); s.Open != 0 || p.open.Load() != 0 {
			t.Errorf("%+v, %d open", s, p.open.Load())
		}
		d.Close()
	})
}
