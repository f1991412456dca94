package main

import (
	"net/netip"
	"strings"
	"time"

	"backstop/internal/mail"
)

// parseSender reads a reverse-path as people write it: <> or "" is the null sender.
func parseSender(s string) (mail.ReversePath, error) {
	if s = unbracket(s); s == "" {
		return mail.ReversePath{}, nil
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		return mail.ReversePath{}, hint("write user@domain, or '<>' for the null sender", "sender %q: %w", s, err)
	}
	return mail.ReversePath{Address: a}, nil
}

func parseRecipient(s string) (mail.Address, error) {
	s = unbracket(s)
	a, err := mail.ParseAddress(s)
	if err != nil {
		return mail.Address{}, hint("write user@domain", "recipient %q: %w", s, err)
	}
	return a, nil
}

func unbracket(s string) string {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") {
		return s[1 : len(s)-1]
	}
	return s
}

func parseClient(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, hint("write an address, as 192.0.2.7 or 2001:db8::7", "client %q is not an IP address", s)
	}
	return a.Unmap(), nil
}

// parseAt reads --at; "" is the zero time, which means now.
func parseAt(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, hint("write it as 2026-03-01T12:00:00Z (RFC 3339)", "--at %q is not a time", s)
	}
	return t, nil
}
