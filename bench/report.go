package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// result is one line of the table.
type result struct {
	Row     string    `json:"row"`
	About   string    `json:"about"`
	Peer    string    `json:"peer"`
	Ours    string    `json:"ours"`
	Ratio   string    `json:"ratio"`
	Target  string    `json:"target"`
	Reached string    `json:"reached"` // yes, no, or - where nothing could be compared
	Figures []*figure `json:"figures,omitempty"`
	Notes   []string  `json:"notes,omitempty"`
}

// judge compares what was measured with the most that is allowed.
func (r *result) judge(value, limit float64) {
	r.Reached = "no"
	if value <= limit {
		r.Reached = "yes"
	}
}

func (r *result) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// report is the whole run.
type report struct {
	Time    time.Time `json:"time"`
	Go      string    `json:"go"`
	CPUs    int       `json:"cpus"`
	Kernel  string    `json:"kernel"`
	Peer    string    `json:"peer"`
	Busy    float64   `json:"machine_busy"` // fraction of all processors in use before anything was started
	Seconds float64   `json:"seconds"`
	Rounds  int       `json:"rounds"`
	Results []result  `json:"results"`
}

func newReport(b *bench, busy float64) *report {
	r := &report{Time: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(), CPUs: runtime.NumCPU(), Busy: busy, Rounds: b.rounds}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		r.Kernel = strings.TrimSpace(string(text))
	}
	if b.postfix != nil {
		r.Peer = fmt.Sprintf("Postfix %s, recipients in %s", b.postfix.version, b.postfix.mapType)
	}
	return r
}

// deliver prints the table and writes the JSON file, or prints JSON alone.
func (r *report) deliver(path string) error {
	if path == "-" {
		return r.writeJSON(os.Stdout)
	}
	if err := r.write(os.Stdout); err != nil || path == "" {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := r.writeJSON(file); err != nil {
		return err
	}
	return file.Close()
}

func (r *report) writeJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(r)
}

// write prints the table, and below it what stands behind each line.
func (r *report) write(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "WHAT\tPEER\tOURS\tRATIO (RANGE)\tTARGET\tREACHED")
	for _, result := range r.Results {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", result.About, orDash(result.Peer), orDash(result.Ours), orDash(result.Ratio), result.Target, orDash(result.Reached))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, result := range r.Results {
		fmt.Fprintf(w, "\n%s\n", result.About)
		details := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, f := range result.Figures {
			fmt.Fprintf(details, "  %s\t%s\n", f.Name, f.describe())
		}
		if err := details.Flush(); err != nil {
			return err
		}
		for _, note := range result.Notes {
			fmt.Fprintf(w, "  %s\n", note)
		}
	}
	_, err := fmt.Fprintf(w, "\n%s; %s; %d processors; Linux %s; %d rounds; %.0f s; before the start the machine was %.0f %% busy%s\n",
		orDash(r.Peer), r.Go, r.CPUs, r.Kernel, r.Rounds, r.Seconds, 100*r.Busy, busyWarning(r.Busy))
	return err
}

func busyWarning(busy float64) string {
	if busy < 0.1 {
		return ""
	}
	return ": do not trust the times, and the ratios only with care"
}

// describe puts a figure into one line.
func (f *figure) describe() string {
	if f.Missing != "" {
		return "not measured: " + f.Missing
	}
	var parts []string
	if f.Spread != nil {
		parts = append(parts, fmt.Sprintf("%s %s (%s to %s)", number(f.Spread.Median), f.Unit, number(f.Spread.Min), number(f.Spread.Max)))
	}
	if f.PerSecond > 0 {
		parts = append(parts, fmt.Sprintf("%.0f a second", f.PerSecond))
	}
	if f.Latency != nil && f.Latency.P999 > 0 {
		parts = append(parts, fmt.Sprintf("p50 %s, p99 %s, p99.9 %s, longest %s of %d", short(f.Latency.P50), short(f.Latency.P99),
			short(f.Latency.P999), short(f.Latency.Max), f.Latency.N))
	} else if f.Latency != nil {
		parts = append(parts, fmt.Sprintf("p50 %s, p99 %s", milliseconds(f.Latency.P50), milliseconds(f.Latency.P99)))
	}
	if f.LogBytes > 0 {
		parts = append(parts, fmt.Sprintf("log %.0f bytes each", f.LogBytes))
	}
	if f.Meter != "" {
		parts = append(parts, "CPU from "+f.Meter)
	}
	return strings.Join(parts, "\t")
}

// number prints three significant digits or all before the point.
func number(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	case x >= 1:
		return fmt.Sprintf("%.2f", x)
	default:
		return fmt.Sprintf("%.3f", x)
	}
}

func milliseconds(d time.Duration) string {
	return number(float64(d)/float64(time.Millisecond)) + " ms"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
