package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"backstop/internal/audit"
)

// auditProgress shows a bar on a terminal, once reading has taken a second. The function returned wipes it.
func (a *app) auditProgress(logs *logFiles) (stop func()) {
	if !onTerminal(a.err) {
		return func() {}
	}
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		shown := false
		for {
			select {
			case <-quit:
				if shown {
					fmt.Fprint(a.err, "\r\x1b[K")
				}
				return
			case <-tick.C:
				fmt.Fprintf(a.err, "\r\x1b[K%s", bar(logs.done.Load(), logs.total))
				shown = true
			}
		}
	}()
	return sync.OnceFunc(func() { close(quit); <-gone })
}

const megabyte = 1_000_000

// bar is how much was read, in a line.
func bar(done, total int64) string {
	if total <= 0 {
		return fmt.Sprintf("reading: %d MB", done/megabyte)
	}
	const width = 30
	done = min(done, total)
	filled := int(done * width / total)
	return fmt.Sprintf("reading [%s%s] %d %%, %d of %d MB", strings.Repeat("#", filled), strings.Repeat(".", width-filled), done*100/total, done/megabyte, total/megabyte)
}

func (a *app) printAudit(r *auditJSON, f *auditFlags) {
	a.auditHead(r)
	if r.Lines.Used > 0 {
		a.auditTotals(r)
	}
	if r.Inner > 0 {
		var from []string
		for _, h := range r.Insiders[:min(f.top, len(r.Insiders))] {
			from = append(from, fmt.Sprintf("%s (%d)", h.Name, h.Count))
		}
		a.printf("not written by it, but sent out to strangers for servers behind it: %s, for %s\n",
			several(r.Inner, "message with the null sender", "messages with the null sender"), strings.Join(from, ", "))
	}
	if r.Backscatter > 0 {
		a.auditDays(r)
		a.auditTables(r, f.top)
		a.auditShare(r)
	}
	a.auditRest(r, f)
	a.printf("\nnext:\n")
	for i, s := range r.Next {
		a.printf("%d. %s\n", i+1, s)
	}
}

func (a *app) auditHead(r *auditJSON) {
	if r.Lines.Used == 0 {
		a.printf("nothing was found that tells of mail\n")
		return
	}
	var who []string
	for _, s := range r.Servers {
		who = append(who, s.Name)
	}
	a.printf("logs of %s from %s to %s\n", strings.Join(who, ", "), r.From, r.To)
	if r.Since != "" {
		a.printf("counted are bounces since %s\n", r.Since)
	}
	how := "inferred from its deliveries"
	if r.OwnGiven {
		how = "as given"
	}
	const most = 20
	own := r.Own
	more := ""
	if len(own) > most {
		own, more = own[:most], fmt.Sprintf(" and %d more", len(r.Own)-most)
	}
	if len(own) == 0 {
		own, how = []string{"none"}, "no delivery shows one: name them with --domain"
	}
	a.printf("own domains (%s): %s%s\n", how, strings.Join(own, ", "), more)
}

func (a *app) auditTotals(r *auditJSON) {
	if r.Backscatter == 0 {
		a.printf("\nno bounce left this server for strangers\n")
	} else {
		about := ""
		if r.About {
			about = "about "
		}
		a.printf("\n%s left this server for %s%s in %s\n", several(r.Backscatter, "bounce", "bounces"), about,
			several(r.Strangers, "stranger", "strangers"), several(r.Domains, "domain", "domains"))
		began := "it began on " + r.Began
		if r.FromStart {
			began = "it began on " + r.Began + " or earlier: so do these logs"
		}
		a.printf("%s\n", began)
	}
	if r.Written == 0 && r.Left == 0 {
		return
	}
	a.printf("bounces written: %d. To strangers %d, to own users %d, not taken by the stranger's server %d, not delivered within these logs %d\n",
		max(r.Written, r.Left), r.Backscatter, r.OwnUsers, r.Refused, r.Waiting)
}

// auditDays draws how many there were each day, or in each week or month where there are many.
func (a *app) auditDays(r *auditJSON) {
	rows, what := periods(r.Days)
	most := 0
	for _, d := range rows {
		most = max(most, d.Count)
	}
	digits := len(fmt.Sprint(most))
	a.printf("\nbounces to strangers per %s:\n", what)
	for _, d := range rows {
		a.printf("%s\n", strings.TrimRight(fmt.Sprintf("%-10s  %*d  %s", d.Name, digits, d.Count, blocks(d.Count, most)), " "))
	}
}

// chartRows is how many lines the chart may have.
const chartRows = 35

// periods adds days up to weeks or months where they are too many.
func periods(days []audit.Count) ([]audit.Count, string) {
	if len(days) <= chartRows {
		return days, "day"
	}
	size, what := 7, "week, by its first day"
	if len(days) > 7*chartRows {
		size, what = 0, "month"
	}
	var rows []audit.Count
	for i, d := range days {
		name := d.Name
		if size == 0 {
			name = d.Name[:len("2026-11")]
		}
		if n := len(rows); n > 0 && (size == 0 && rows[n-1].Name == name || size > 0 && i%size != 0) {
			rows[n-1].Count += d.Count
		} else {
			rows = append(rows, audit.Count{Name: name, Count: d.Count})
		}
	}
	return rows, what
}

// blocks is a bar of eighths; what is not nothing shows.
func blocks(n, most int) string {
	if n == 0 {
		return ""
	}
	const width = 40
	eighths := max(1, n*width*8/most)
	bar := strings.Repeat("█", eighths/8)
	if part := eighths % 8; part > 0 {
		bar += string([]rune("▏▎▍▌▋▊▉")[part-1])
	}
	return bar
}

func (a *app) auditTables(r *auditJSON, top int) {
	a.printf("\nbecause of:\n")
	t := a.table()
	for _, c := range r.Causes {
		t.AppendRow(table.Row{"  " + audit.CauseWords(c.Name), c.Count, percent(c.Count, r.Backscatter)})
	}
	a.printTable(t)
	if len(r.Hosts) > 0 {
		a.printf("\nrefused, after this server had accepted it, by:\n")
		t = a.table()
		for _, h := range r.Hosts[:min(top, len(r.Hosts))] {
			where := "mostly: "
			if !h.Inner && r.OwnKnown {
				where = "not for a domain of yours; mostly: "
			}
			t.AppendRow(table.Row{"  " + h.Name, h.Count, where + audit.CauseWords(h.Cause)})
		}
		a.printTable(t)
		a.more(len(r.Hosts), top)
	}
	if len(r.Servers) > 1 {
		a.printf("\nwritten by:\n")
		t = a.table()
		for _, s := range r.Servers {
			t.AppendRow(table.Row{"  " + s.Name, s.Backscatter})
		}
		a.printTable(t)
	}
	a.printf("\nworst hit:\n")
	t = a.table()
	for _, d := range r.Receivers[:min(top, len(r.Receivers))] {
		t.AppendRow(table.Row{"  " + d.Name, d.Count, percent(d.Count, r.Backscatter)})
	}
	a.printTable(t)
	a.more(len(r.Receivers), top)
}

func (a *app) more(n, shown int) {
	if n > shown {
		a.printf("  and %d more\n", n-shown)
	}
}

func (a *app) auditShare(r *auditJSON) {
	if !r.OwnKnown {
		a.printf("\nhow many of these would have been refused at RCPT with Backstop cannot be told: no own domain is known. Name them with --domain\n")
		return
	}
	a.printf("\nwith Backstop %d of these %d (%s) would have been refused at RCPT, and %d (%s) at the end of the message:\nno bounce is written then. %d (%s) would have been written all the same.\n",
		r.AtRcpt, r.Backscatter, percent(r.AtRcpt, r.Backscatter), r.AtData, percent(r.AtData, r.Backscatter), r.Remaining, percent(r.Remaining, r.Backscatter))
}

// percent never says 0 or 100 of what is not.
func percent(n, of int) string {
	switch p := 100 * float64(n) / float64(max(of, 1)); {
	case n > 0 && p < 1:
		return "<1 %"
	case n < of && p > 99:
		return ">99 %"
	default:
		return fmt.Sprintf("%.0f %%", p)
	}
}

// auditRest is what was counted apart, and what was lost.
func (a *app) auditRest(r *auditJSON, f *auditFlags) {
	var apart []string
	for _, p := range []struct {
		n         int
		one, more string
	}{
		{r.Delays, "warning of a delay", "warnings of a delay"}, {r.Receipts, "receipt", "receipts"}, {r.Postmaster, "notice to the postmaster", "notices to the postmaster"},
		{r.Relayed, "message with the null sender that came from elsewhere", "messages with the null sender that came from elsewhere"},
		{r.Programs, "message with the null sender of a program here", "messages with the null sender of programs here"},
		{r.Headless, "message with the null sender whose beginning is not in these logs", "messages with the null sender whose beginning is not in these logs"},
		{r.Again, "bounce seen again in the next server's log", "bounces seen again in the next server's log"},
	} {
		if p.n > 0 {
			apart = append(apart, several(p.n, p.one, p.more))
		}
	}
	if len(apart) > 0 {
		a.printf("\nnot counted as bounces: %s\n", strings.Join(apart, "; "))
	}
	l := r.Lines
	a.printf("\n%s: %d tell of messages, %d do not, %d of other programs, %d not understood", several(l.Total, "line", "lines"), l.Used, l.Nothing, l.OtherPrograms, l.NotUnderstood)
	if l.NotUnderstood > 0 && !f.unknown {
		a.printf(" (--unknown shows some)")
	}
	a.printf("\n")
	for _, s := range r.Unknown {
		a.printf("  %6d like  %s\n", s.Count, s.Line)
	}
	if r.Forgotten > 0 {
		a.printf("%s forgotten before their end, because too many were open at once: some causes may be missing\n", several(r.Forgotten, "message was", "messages were"))
	}
	if r.Unjoined > 0 && r.Relayed > 0 {
		a.printf("%s handed to another server than there was room to remember: some of those that came from elsewhere may be these\n", several(r.Unjoined, "bounce more was", "bounces more were"))
	}
	if r.Merged > 0 {
		a.printf("%s told apart no further than by day and cause: there were too many domains\n", several(r.Merged, "bounce was", "bounces were"))
	}
}

func several(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
