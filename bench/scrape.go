package main

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// scraped are the figures of a page of /metrics, by name with its labels.
type scraped map[string]float64

// scrape reads what a gateway says of itself.
func scrape(addr string) (scraped, error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + addr + "/metrics")
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("/metrics: %s", r.Status)
	}
	all := scraped{}
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || at < 0 {
			continue
		}
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("/metrics: %q", line)
		}
		all[line[:at]] = value
	}
	return all, lines.Err()
}

// sum adds up the figures of this name whose labels hold all of these.
func (s scraped) sum(name string, labels ...string) (sum float64) {
	for key, value := range s {
		base, rest, _ := strings.Cut(key, "{")
		if base != name {
			continue
		}
		hit := true
		for _, l := range labels {
			hit = hit && strings.Contains(rest, l)
		}
		if hit {
			sum += value
		}
	}
	return sum
}
