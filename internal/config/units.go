package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var sizeUnits = []struct {
	name string
	size int64
}{{"B", 1}, {"KB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"TB", 1 << 40}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}}

// parseSize reads octets: "50MB". As mail servers have it, 1 KB is 1024 octets.
func parseSize(s string) (int64, error) {
	digits := strings.TrimLeft(s, "0123456789")
	n, err := strconv.ParseInt(s[:len(s)-len(digits)], 10, 64)
	unit := strings.TrimSpace(digits)
	if err != nil && digits != s {
		return 0, fmt.Errorf("%q is too large", s)
	}
	for _, u := range sizeUnits {
		if err != nil || !strings.EqualFold(u.name, unit) {
			continue
		}
		if n > math.MaxInt64/u.size {
			return 0, fmt.Errorf("%q is too large", s)
		}
		return n * u.size, nil
	}
	return 0, hinted{fmt.Sprintf("%q is not a size", s), `a size is a whole number and B, KB, MB or GB, as in "50MB"`}
}

var timeUnits = []struct {
	name string
	size time.Duration
}{{"ms", time.Millisecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour}, {"w", 7 * 24 * time.Hour}}

// parseDuration reads "90s", "1h30m" or "7d": whole numbers, each with its unit.
func parseDuration(s string) (time.Duration, error) {
	bad := hinted{fmt.Sprintf("%q is not a length of time", s), `a length of time is written with its unit (ms, s, m, h, d, w), as in "90s", "1h30m" or "7d"`}
	var total time.Duration
	if s == "" {
		return 0, bad
	}
	for rest := s; rest != ""; {
		after := strings.TrimLeft(rest, "0123456789")
		unit := after[:len(after)-len(strings.TrimLeft(after, "abcdefghijklmnopqrstuvwxyz"))]
		n, err := strconv.ParseInt(rest[:len(rest)-len(after)], 10, 64)
		size := timeUnit(unit)
		if err != nil || size == 0 {
			return 0, bad
		}
		if n > int64(math.MaxInt64-total)/int64(size) {
			return 0, fmt.Errorf("%q is too long", s)
		}
		total += time.Duration(n) * size
		rest = after[len(unit):]
	}
	return total, nil
}

func timeUnit(name string) time.Duration {
	for _, u := range timeUnits {
		if u.name == name {
			return u.size
		}
	}
	return 0
}

// formatDuration writes a bound in a message the way the file would.
func formatDuration(t time.Duration) string {
	for i := len(timeUnits) - 1; i >= 0; i-- {
		if u := timeUnits[i]; t != 0 && t%u.size == 0 {
			return strconv.FormatInt(int64(t/u.size), 10) + u.name
		}
	}
	return t.String()
}

// formatSize writes a bound in a message the way the file would.
func formatSize(n int64) string {
	for i := 4; i > 0; i-- {
		if u := sizeUnits[i]; n != 0 && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// parseRate reads "20/s", "300/m" or "1000/h" and gives so many a second.
func parseRate(s string) (float64, error) {
	number, unit, ok := strings.Cut(s, "/")
	n, err := strconv.ParseUint(number, 10, 31)
	size := map[string]float64{"s": 1, "m": 60, "h": 3600}[unit]
	if !ok || err != nil || size == 0 {
		return 0, hinted{fmt.Sprintf("%q is not a rate", s), `a rate is so many a second, minute or hour, as in "20/s", "300/m" or "1000/h"`}
	}
	if n == 0 {
		return 0, fmt.Errorf("%q would never ask", s)
	}
	return float64(n) / size, nil
}
