package listen

import (
	"testing"
	"time"
)

// TestQuiet: each subject has a minute of its own, which begins when it was spoken of.
func TestQuiet(t *testing.T) {
	var q Quiet
	begin := time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		after   time.Duration
		subject string
		due     bool
	}{
		{0, "map", true}, {0, "map", false}, {30 * time.Second, "malformed", true}, {59 * time.Second, "map", false},
		{60 * time.Second, "map", true}, {61 * time.Second, "malformed", false}, {90 * time.Second, "malformed", true}, {119 * time.Second, "map", false},
		{-time.Hour, "map", true}, // the clock was set
	} {
		if due := q.Due(tc.subject, begin.Add(tc.after)); due != tc.due {
			t.Errorf("%s after %s: %v", tc.subject, tc.after, due)
		}
	}
}
