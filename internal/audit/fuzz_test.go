package audit_test

import (
	"strings"
	"testing"

	"backstop/internal/audit"
)

// FuzzCount: whatever lines come in whatever order, the numbers fit together.
func FuzzCount(f *testing.F) {
	for _, kind := range append([]string{"exchange"}, kept...) {
		f.Add(sample(f, kind))
	}
	f.Fuzz(func(t *testing.T, log string) {
		r := read(t, audit.Options{Open: 20}, log)
		if r.Backscatter+r.OwnUsers != r.Left || r.AtRcpt+r.AtData+r.Remaining != r.Backscatter || r.Strangers > r.Backscatter || r.Waiting < 0 {
			t.Errorf("%s", summary(r))
		}
		for name, list := range map[string][]audit.Count{"days": r.Days, "causes": r.Causes, "receivers": r.Receivers} {
			n := 0
			for _, c := range list {
				n += c.Count
			}
			if n != r.Backscatter && name != "days" {
				t.Errorf("%s: %d of %d", name, n, r.Backscatter)
			}
		}
		if strings.Count(log, "\n") > r.Lines.Total {
			t.Errorf("%d lines", r.Lines.Total)
		}
	})
}
