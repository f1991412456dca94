package daemon

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"backstop/internal/bouncereport"
	"backstop/internal/mail"
	"backstop/internal/store/sqlite"
	"backstop/internal/tally"
)

// bounceDays checks how many days are asked for.
func bounceDays(n int) error {
	if n < 1 || n > tally.KeepDays+1 {
		return &hinted{fmt.Errorf("%d days cannot be reported", n), fmt.Sprintf("the counts of %d days are kept, today included", tally.KeepDays+1)}
	}
	return nil
}

// firstOf is the moment from which that many days are counted, the day of now included.
func firstOf(days int, now time.Time) time.Time { return now.AddDate(0, 0, 1-days) }

// Bounces reports what was counted in the last days, today included; domain may be "" for all.
func (d *Daemon) Bounces(ctx context.Context, days int, domain string) (bouncereport.Report, error) {
	if err := bounceDays(days); err != nil {
		return bouncereport.Report{}, err
	}
	since := firstOf(days, d.o.Now())
	lines, err := d.tally.Report(ctx, since)
	if err != nil {
		return bouncereport.Report{}, err
	}
	return bouncereport.Make(lines, days, tally.DayOf(since), domain), nil
}

// ReadBounces is Bounces for a state folder whose daemon does not run. The error wraps
// fs.ErrNotExist where there is none.
func ReadBounces(ctx context.Context, state string, days int, domain string, now time.Time) (bouncereport.Report, error) {
	if err := bounceDays(days); err != nil {
		return bouncereport.Report{}, err
	}
	store, err := sqlite.OpenRead(state)
	if err != nil {
		return bouncereport.Report{}, err
	}
	defer store.Close()
	since := firstOf(days, now)
	var lines []tally.Line
	err = store.LoadTally(ctx, tally.DayOf(since), func(l tally.Line) error {
		lines = append(lines, l)
		return nil
	})
	if err != nil {
		return bouncereport.Report{}, err
	}
	return bouncereport.Make(lines, days, tally.DayOf(since), domain), nil
}

// bounceTime bounds one report.
const bounceTime = 5 * time.Second

func (d *Daemon) serveBounces(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), bounceTime)
	defer cancel()
	days, err := strconv.Atoi(r.FormValue("days"))
	if err != nil {
		writeJSON(w, http.StatusBadRequest, failure{"days is no number", "write days=7"})
		return
	}
	if err := bounceDays(days); err != nil {
		writeJSON(w, http.StatusBadRequest, failure{err.Error(), err.(*hinted).Hint()})
		return
	}
	domain := r.FormValue("domain")
	if domain != "" {
		if domain, err = mail.FoldDomain(domain); err != nil {
			writeJSON(w, http.StatusBadRequest, failure{err.Error(), "write domain=example.com"})
			return
		}
	}
	report, err := d.Bounces(ctx, days, domain)
	if err != nil {
		writeJSON(w, http.StatusInternalServerError, failure{err.Error(), "the log says whether the state folder can be read"})
		return
	}
	writeJSON(w, http.StatusOK, report)
}
