package mailtest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Sent is one message as its sender saw it.
type Sent struct {
	From  string   // the reverse path without brackets
	To    []string // the recipients that were accepted
	Due   []string // those that were asked for and not answered yet
	Body  []byte   // what the sender meant to send
	Known bool     // Body is all of it; false where raw octets were played
	Ended bool     // the end of the message was sent
	Codes []int    // the final replies that came: one, in LMTP one a recipient
}

// taken says whether the sender has been told that its message is in good hands.
func (s *Sent) taken() bool {
	return len(s.Codes) > 0 && !slices.ContainsFunc(s.Codes, func(c int) bool { return c/100 != 2 })
}

func (s *Sent) refused() bool {
	return slices.ContainsFunc(s.Codes, func(c int) bool { return c/100 == 5 })
}

// prepended are the header fields that a gateway or a real server puts in front.
var prepended = []string{"Received:", "Authentication-Results:", "Backstop-Origin:", "Backstop-Seal:", "Backstop-Bounce:", "DKIM-Signature:", "Return-Path:", "X-Original-To:", "Delivered-To:", "Envelope-To:", "Delivery-Date:"}

// Carries says whether arrived is sent with nothing but whole header fields of
// ours (or a server's trace fields) in front, and returns that front.
func Carries(arrived, sent []byte) (front []byte, ok bool) {
	if !bytes.HasSuffix(arrived, sent) {
		return nil, false
	}
	front = arrived[:len(arrived)-len(sent)]
	rest := string(front)
	for first := true; rest != ""; first = false {
		line, after, whole := strings.Cut(rest, "\r\n")
		if !whole {
			return front, false
		}
		folded := !first && (line != "" && (line[0] == ' ' || line[0] == '\t'))
		if !folded && !slices.ContainsFunc(prepended, func(p string) bool {
			return len(line) >= len(p) && strings.EqualFold(line[:len(p)], p)
		}) {
			return front, false
		}
		rest = after
	}
	return front, true
}

// Owned compares what senders saw with what the downstream holds, and returns
// every way in which the promise is broken that nobody but the downstream ever
// owns a message:
//
//   - a sender was told 2xx, and the downstream did not say 2xx to that message, whole
//     and unchanged but for fields in front, for exactly the recipients accepted;
//   - a sender was told 5xx, and so writes a bounce, for a message that was taken;
//   - the downstream took something that nobody sent, or took a message twice, or one
//     whose end was never sent.
//
// A sender that was told 4xx or nothing may find its message taken: a duplicate
// is the lesser evil. It may be called in mid-conversation.
func Owned(sent []Sent, held []Message) []string {
	var wrong []string
	left := make([]*Message, 0, len(held))
	for i := range held {
		if held[i].Kept {
			left = append(left, &held[i])
		}
	}
	// Known bodies claim theirs first, so that an unknown one cannot take it away.
	for _, known := range []bool{true, false} {
		for i := range sent {
			if sent[i].Known == known {
				var w string
				if left, w = claim(&sent[i], left); w != "" {
					wrong = append(wrong, fmt.Sprintf("message %d of the senders: %s", i+1, w))
				}
			}
		}
	}
	for _, m := range left {
		wrong = append(wrong, fmt.Sprintf("the downstream holds what nobody sent, or sent to the end: from <%s> to %v: %s", m.From, paths(m.To), excerpt(m.Body)))
	}
	return wrong
}

// claim takes from the held messages those that are this sent one, which a
// server may have split by recipient.
func claim(s *Sent, held []*Message) (left []*Message, wrong string) {
	want := slices.Concat(s.To, s.Due)
	mine, unsaid := 0, 0
	for _, m := range held {
		if !s.Ended || !belongs(s, m) || !subtract(&want, m.To) {
			left = append(left, m)
			continue
		}
		mine++
		if m.Code/100 != 2 {
			unsaid++
		}
	}
	switch {
	case s.taken() && mine == 0:
		return left, fmt.Sprintf("the sender <%s> was told %v, and nothing like it was taken: %s", s.From, s.Codes, excerpt(s.Body))
	case s.taken() && unsaid > 0:
		return left, fmt.Sprintf("the sender <%s> was told %v before the downstream had said so", s.From, s.Codes)
	case s.taken() && len(want) > 0:
		return left, fmt.Sprintf("the sender <%s> was told %v, and these recipients did not get it: %v", s.From, s.Codes, want)
	case s.refused() && mine > 0 && len(s.Codes) == 1:
		return left, fmt.Sprintf("the sender <%s> was told %v for a message that was taken", s.From, s.Codes)
	}
	return left, ""
}

func belongs(s *Sent, m *Message) bool {
	if !strings.EqualFold(s.From, m.From) {
		return false
	}
	if !s.Known {
		return true
	}
	_, ok := Carries(m.Body, s.Body)
	return ok
}

// subtract removes the recipients from want if it has all of them.
func subtract(want *[]string, to []Rcpt) bool {
	rest := slices.Clone(*want)
	for _, r := range to {
		i := slices.IndexFunc(rest, func(w string) bool { return strings.EqualFold(w, r.Path) })
		if i < 0 {
			return false
		}
		rest = slices.Delete(rest, i, i+1)
	}
	*want = rest
	return true
}

func paths(to []Rcpt) []string {
	var out []string
	for _, r := range to {
		out = append(out, r.Path)
	}
	return out
}

func excerpt(b []byte) string {
	if len(b) > 200 {
		return fmt.Sprintf("%q… (%d octets)", b[:200], len(b))
	}
	return fmt.Sprintf("%q", b)
}

// CheckOwned fails the test if Owned finds anything.
func CheckOwned(t testing.TB, sent []Sent, held []Message) {
	t.Helper()
	for _, w := range Owned(sent, held) {
		t.Errorf("a message has no owner: %s", w)
	}
}
