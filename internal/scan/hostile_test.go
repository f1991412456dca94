package scan

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"backstop/internal/mail"
	"backstop/internal/mailtest"
)

// pipe makes Dial lead to serve, over connections in memory, so that time in a synctest bubble passes by itself.
func pipe(t *testing.T, serve func(n int, nc net.Conn)) func(context.Context, string, string) (net.Conn, error) {
	n := 0
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	return func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		n++
		k := n
		wg.Go(func() {
			defer theirs.Close()
			serve(k, theirs)
		})
		return ours, nil
	}
}

// lines answers each line that comes: by what answer says, after as long as it says.
func lines(nc net.Conn, answer func(line string) (string, time.Duration)) {
	buf, rest := make([]byte, 4096), ""
	say := func(line string) bool {
		text, wait := answer(line)
		time.Sleep(wait)
		if text == "" {
			return false
		}
		_, err := io.WriteString(nc, text+"\r\n")
		return err == nil
	}
	for ok := say(""); ok; {
		n, err := nc.Read(buf)
		if err != nil {
			return
		}
		rest += string(buf[:n])
		for ok {
			line, more, found := strings.Cut(rest, "\r\n")
			if !found {
				break
			}
			rest = more
			ok = say(line) && line != "QUIT"
		}
	}
}

// healthy is what a server that is well answers.
func healthy(line string) string {
	switch {
	case line == "":
		return "220 mx.example.com ESMTP"
	case strings.HasPrefix(line, "RCPT") && !strings.Contains(line, "postmaster@"):
		return "550 5.1.1 User unknown"
	case line == "QUIT":
		return "221 2.0.0 Bye"
	}
	return "250 2.0.0 Ok"
}

// TestTarpit: a server that takes its time is told to be slow, and not taken for dead; and pauses are kept.
func TestTarpit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plan(t, "192.0.2.25:25")
		p.Sleep, p.Pause = nil, 5*time.Second
		var began []time.Time
		serve := pipe(t, func(_ int, nc net.Conn) {
			lines(nc, func(line string) (string, time.Duration) {
				switch text := healthy(line); {
				case line == "":
					return text, 10 * time.Second
				case strings.HasPrefix(text, "550"):
					return text, 40 * time.Second
				default:
					return text, 0
				}
			})
		})
		p.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			began = append(began, time.Now())
			return serve(ctx, network, addr)
		}
		r := Run(t.Context(), p)
		text := strings.Join(r.Advice, "\n")
		if r.Class != RefusesAtRcpt || !strings.Contains(text, "unknown recipients 40.0 s on the average, the postmaster 0.0 s") || !strings.Contains(text, "banner back for 10.0 s") {
			t.Error(show(r))
		}
		for i := 1; i < len(began); i++ {
			if began[i].Sub(began[i-1]) < 15*time.Second { // the banner, and the pause
				t.Errorf("connection %d after %s", i, began[i].Sub(began[i-1]))
			}
		}
	})
}

// TestGreylistWaits: the retry comes after the pause, for the same triples.
func TestGreylistWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plan(t, "192.0.2.25:25")
		p.Sleep, p.Retry = nil, 5*time.Minute
		first := map[string]time.Time{}
		p.Dial = pipe(t, func(_ int, nc net.Conn) {
			from := ""
			lines(nc, func(line string) (string, time.Duration) {
				if strings.HasPrefix(line, "MAIL") {
					from = line
				}
				if !strings.HasPrefix(line, "RCPT") {
					return healthy(line), 0
				}
				if first[from+line].IsZero() {
					first[from+line] = time.Now()
				}
				if time.Since(first[from+line]) < 5*time.Minute {
					return "450 4.2.0 Greylisted", 0
				}
				return healthy(line), 0
			})
		})
		if r := Run(t.Context(), p); r.Class != Greylists || r.OnRetry != RefusesAtRcpt || r.Health != Healthy {
			t.Error(show(r))
		}
	})
}

// TestHangs: a server that is silent from some command on is given up in time, and not asked for ever.
func TestHangs(t *testing.T) {
	for word, want := range map[string]Class{"": Unreachable, "EHLO": RefusesProbe, "MAIL": RefusesProbe, "RCPT": RefusesProbe, "RSET": RefusesAtRcpt, "QUIT": RefusesAtRcpt} {
		for _, closes := range []bool{false, true} {
			t.Run(word, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := plan(t, "192.0.2.25:25")
					p.Sleep, p.Pause = nil, time.Second
					quit := make(chan struct{})
					p.Dial = pipe(t, func(_ int, nc net.Conn) {
						lines(nc, func(line string) (string, time.Duration) {
							if verb, _, _ := strings.Cut(line, " "); verb != word {
								return healthy(line), 0
							}
							if !closes {
								<-quit
							}
							return "", 0
						})
					})
					began := time.Now()
					r := Run(t.Context(), p)
					close(quit)
					if r.Class != want || time.Since(began) > 20*time.Minute {
						t.Errorf("after %s: %s", time.Since(began), show(r))
					}
				})
			})
		}
	}
}

// TestInterrupted: a scan ends when it is told to.
func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plan(t, "192.0.2.25:25")
		p.Sleep = nil
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p.Dial = pipe(t, func(_ int, nc net.Conn) {
			lines(nc, func(line string) (string, time.Duration) { return healthy(line), 400 * time.Millisecond })
		})
		began := time.Now()
		r := Run(ctx, p)
		if r.Health != Unclear || !strings.Contains(strings.Join(r.Advice, "\n"), "The scan was interrupted") {
			t.Error(show(r))
		}
		if time.Since(began) > 2*time.Second {
			t.Error(time.Since(began))
		}
	})
}

// TestGarbage: what is no SMTP is said to be none, whatever its size.
func TestGarbage(t *testing.T) {
	for name, banner := range map[string][]byte{
		"web server":     []byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
		"10 MB line":     bytes.Repeat([]byte("220 x"), 2<<20),
		"10 MB of lines": bytes.Repeat([]byte("220-mx.example.com is glad to see you\r\n"), 280_000),
		"NUL":            make([]byte, 4096),
		"SSH":            []byte("SSH-2.0-OpenSSH_9.2\r\n"),
		"nothing":        nil,
		"control":        []byte("220 \x1b[2J\x1b]0;owned\x07\u202e\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			p := plan(t, "192.0.2.25:25")
			p.Dial = pipe(t, func(_ int, nc net.Conn) { nc.Write(banner) })
			r := Run(t.Context(), p)
			if r.Class != Unreachable && name != "control" || r.Health != Unclear {
				t.Error(show(r))
			}
			if strings.ContainsAny(show(r)+r.Banner, "\x1b\x07\u202e") || len(r.Banner) > maxReply {
				t.Errorf("%q", r.Banner)
			}
		})
	}
}

// TestNobody: what the network says is told.
func TestNobody(t *testing.T) {
	p := plan(t, "192.0.2.25:25")
	p.Dial = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	if r := Run(t.Context(), p); r.Class != Unreachable || r.Health != Unclear || !strings.Contains(r.Advice[0], "192.0.2.25 cannot be reached at 192.0.2.25:25: connection refused") {
		t.Error(show(r))
	}
}

// TestPostbox: bounces of strangers, and what is no mail at all, do no harm.
func TestPostbox(t *testing.T) {
	p := sending(t, "192.0.2.1:25")
	b := newPostbox(p.Listener, p.ReturnPath, "scan.test")
	defer b.close()
	for i := range maxNotices + 5 { // more than anybody looks at
		bring(t, p.Listener.Addr().String(), "", dsn("failed", "5.1.1"))
		if i == 0 {
			if n := b.kept[0]; n.Ours || n.Kind != "bounce" || n.Helo != "inner.example.com" || n.Diagnostic != "550 no such user here" {
				t.Errorf("%+v", n)
			}
		}
	}
	if len(b.kept) != maxNotices || b.dropped != 5 {
		t.Errorf("%d kept, %d not", len(b.kept), b.dropped)
	}
	k := mailtest.Dial(t, p.Listener.Addr().String())
	k.Send("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<back@scan.test>\r\nDATA\r\nhalf")
	k.Close()
}

// TestMessage: it says what it is, and nothing by which servers know mail that need not bounce.
func TestMessage(t *testing.T) {
	from, _ := mail.ParseAddress("back@scan.test")
	to, _ := mail.ParseAddress("x@example.com")
	for _, helo := range []string{"scan.test", "[192.0.2.1]", "[IPv6:2001:db8::1]"} {
		m := message("token", from, to, helo, "example.com", time.Unix(0, 0).UTC())
		for _, bad := range []string{"auto-submitted", "precedence", "list-", "notification", "x-auto"} {
			if strings.Contains(strings.ToLower(m), bad) {
				t.Errorf("%s: %s", bad, m)
			}
		}
		for _, good := range []string{"\r\nX-Backstop-Scan: token\r\n", "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n", "Message-ID: <token@", "back@scan.test", "This is a test"} {
			if !strings.Contains(m, good) {
				t.Errorf("%s is not in %s", good, m)
			}
		}
		if strings.Contains(strings.ReplaceAll(m, "\r\n", ""), "\n") || strings.Count(m, "@") > 5 {
			t.Errorf("%q", m)
		}
	}
}

// TestSenders: a server that answers by the sender, in the way of those that know bounces of their own mail by a tag, is
// judged by what it says to the other one.
func TestSenders(t *testing.T) {
	for name, c := range map[string]struct {
		null, ours func(line string) string // to RCPT
		class      Class
		says       string
	}{
		"knows its bounces": {refuseAll("550 5.7.1 This bounce answers mail we did not send"), healthy, RefusesAtRcpt, "(BATV)"},
		"knows its bounces, in the words of an unknown user": {refuseAll("550 5.1.1 User unknown"), healthy, RefusesAtRcpt, "(BATV)"},
		"knows its bounces, and accepts":                     {refuseAll("550 5.7.1 no bounce"), refuseAll("250 Ok"), AcceptsUnknown, "(BATV)"},
		"wants a sender that it can verify":                  {healthy, refuseAll("550 5.7.1 Sender verify failed"), RefusesAtRcpt, "It refuses our sender"},
		"defers bounces":                                     {refuseAll("451 4.7.1 later"), healthy, RefusesAtRcpt, "while the sender is still there"},
		"refuses both, each in its words":                    {refuseAll("550 5.7.1 no bounce"), refuseAll("554 5.7.1 not you"), RefusesProbe, "so nothing can be said"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := plan(t, "192.0.2.25:25")
				p.Dial = pipe(t, func(_ int, nc net.Conn) {
					null := false
					lines(nc, func(line string) (string, time.Duration) {
						if strings.HasPrefix(line, "MAIL") {
							null = strings.Contains(line, "<>")
						}
						switch {
						case strings.HasPrefix(line, "RCPT") && strings.Contains(line, "@example.org"):
							return refuseThem, 0
						case strings.HasPrefix(line, "RCPT") && null:
							return c.null(line), 0
						case strings.HasPrefix(line, "RCPT"):
							return c.ours(line), 0
						}
						return healthy(line), 0
					})
				})
				if r := Run(t.Context(), p); r.Class != c.class || !strings.Contains(strings.Join(r.Advice, "\n"), c.says) {
					t.Error(show(r))
				}
			})
		})
	}
}

func refuseAll(reply string) func(string) string { return func(string) string { return reply } }

// TestTurnedAway: a server that lets us in three times only is judged by what it said until then.
func TestTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plan(t, "192.0.2.25:25")
		p.Dial = pipe(t, func(n int, nc net.Conn) {
			lines(nc, func(line string) (string, time.Duration) {
				if n > 3 && line == "" {
					return "421 4.7.0 Too many connections from you", 0
				}
				return healthy(line), 0
			})
		})
		if r := Run(t.Context(), p); r.Class != RefusesAtRcpt || !strings.Contains(strings.Join(r.Advice, "\n"), "Not every conversation came to its end: at the banner, 421 4.7.0") {
			t.Error(show(r))
		}
	})
}
