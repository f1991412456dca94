package daemon_test

import (
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// awayTalk is a client's connection that need not last.
type awayTalk struct {
	k    *mailtest.Talk // nil: it is over
	sent func()         // if not nil, is called when a line was sent, or could not be
}

// awayDial connects from an address and says EHLO. failed is what went wrong on the way; "": nothing.
func awayDial(addr, from string) (c *awayTalk, failed string) {
	d := net.Dialer{Timeout: mailtest.Patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	nc, err := d.Dial("tcp", addr)
	if err != nil {
		return &awayTalk{}, "cannot connect: " + err.Error()
	}
	c = &awayTalk{k: mailtest.NewTalk(nc)}
	for _, line := range []string{"", "EHLO client.example"} {
		if code, text := c.say(line); code/100 != 2 {
			c.close()
			return c, strings.TrimSpace(line + " " + text)
		}
	}
	return c, ""
}

// awayOver is the code of a connection that is over: who sends tries again, as after a 421.
const awayOver = 0

// say sends a line, if there is one, and returns the code of the reply and all of it in the form of the table.
func (c *awayTalk) say(line string) (int, string) {
	var err error
	if c.k != nil && line != "" {
		err = c.k.Send(line + "\r\n")
	}
	if c.sent != nil {
		c.sent()
	}
	if c.k == nil || err != nil {
		c.close()
		return awayOver, "closed"
	}
	r, err := c.k.Reply()
	if err != nil {
		c.close()
		return awayOver, "closed"
	}
	if r.Code == 421 {
		c.close()
	}
	return r.Code, awayWords(r)
}

func (c *awayTalk) close() {
	if c.k != nil {
		c.k.Close()
		c.k = nil
	}
}

var (
	awayID    = regexp.MustCompile(` \[[0-9a-z]{8,}\]`)
	awayWhom  = regexp.MustCompile(`<[^>@]*@[^>]*>`)
	awayAgain = regexp.MustCompile(`^[245]\.\d+\.\d+ `)
)

// awayWords is a reply on one line, without what differs every time. Of one that says yes only the code counts.
func awayWords(r mailtest.Reply) string {
	if r.Code < 400 {
		return fmt.Sprint(r.Code)
	}
	words := fmt.Sprint(r.Code)
	for i, l := range r.Lines {
		if i > 0 { // Exim breaks long lines, and repeats the status
			l = awayAgain.ReplaceAllString(l, "")
		}
		words += " " + strings.TrimSpace(l)
	}
	return awayWhom.ReplaceAllString(awayID.ReplaceAllString(words, ""), "<…>")
}

// awayPhase is a time in which all that begins and ends in it must be answered in one way.
type awayPhase struct {
	name     string
	known    int // the class of what is said of a recipient who exists: 2, or 4
	unknown  int // and of one who does not
	anywhere bool
}

var (
	awayWell = awayPhase{"well", 2, 5, false}
	awayGone = awayPhase{"away", 4, 4, true} // at MAIL as well
)

// fits compares a reply with a class. A connection that is over is a temporary failure.
func (p *awayPhase) fits(code, class int) bool {
	return code/100 == class || class == 4 && code == awayOver || p.anywhere && code/100 == 4
}

// awayLoad is what clients do all the time, and all that they were told.
type awayLoad struct {
	addr string
	over chan struct{}
	pace *time.Ticker
	wg   sync.WaitGroup

	mu    sync.Mutex
	phase *awayPhase // nil: none
	sent  []mailtest.Sent
	wrong []string
	done  int            // transactions
	calm  int            // those of them that ended as if nothing were wrong
	next  int            // so many recipients were made up
	seen  map[string]int // replies
}

// newAwayLoad starts so many clients, who go on until the test ends or stop is called.
func newAwayLoad(t testing.TB, addr string, clients int) *awayLoad {
	l := &awayLoad{addr: addr, over: make(chan struct{}), pace: time.NewTicker(8 * time.Millisecond), seen: map[string]int{}}
	for i := range clients {
		l.wg.Go(func() { l.client(i) })
	}
	t.Cleanup(l.stop)
	return l
}

func (l *awayLoad) stop() {
	l.mu.Lock()
	select {
	case <-l.over:
	default:
		close(l.over)
	}
	l.mu.Unlock()
	l.wg.Wait()
	l.pace.Stop()
}

// turn waits for the next turn of any client; false: there is none.
func (l *awayLoad) turn() bool {
	select {
	case <-l.over:
		return false
	case <-l.pace.C:
	}
	select {
	case <-l.over:
		return false
	default:
		return true
	}
}

// client brings mail, three transactions a connection.
func (l *awayLoad) client(i int) {
	for n := 0; l.turn(); n++ {
		phase := l.now()
		c, failed := awayDial(l.addr, fmt.Sprintf("127.0.2.%d", i+1))
		if failed != "" {
			l.fault(!strings.Contains(failed, " 4") && !strings.HasSuffix(failed, "closed"), "a client is told %s", failed)
			l.count("EHLO", failed)
			continue
		}
		for m := range 3 {
			if c.k == nil || m > 0 && !l.turn() {
				break
			}
			l.transaction(c, phase, i+n+m)
		}
		c.close()
	}
}

// awayMixes are who is asked for in one transaction: k is known, u is not.
var awayMixes = []string{"k", "u", "ku", "uk", "uku", "kk"}

// transaction is one, which begins on a connection that was opened in this phase.
func (l *awayLoad) transaction(c *awayTalk, phase *awayPhase, mix int) {
	s := mailtest.Sent{From: l.someone("ann") + "@sender.example", Known: true}
	s.Body = []byte(hello("for " + s.From))
	defer func() { l.add(s, phase) }()
	code, text := c.say("MAIL FROM:<" + s.From + ">")
	l.heard(phase, "MAIL", true, code, text)
	if code/100 != 2 {
		return
	}
	for _, kind := range awayMixes[mix%len(awayMixes)] {
		l.recipient(c, phase, &s, kind == 'k')
	}
	if len(s.To) == 0 {
		c.say("RSET")
		return
	}
	if code, text = c.say("DATA"); code != 354 {
		l.heard(nil, "DATA", true, code, text)
		c.say("RSET")
		return
	}
	s.Ended = true
	code, text = c.say(string(s.Body) + ".")
	if code != awayOver {
		s.Codes = []int{code}
	}
	l.heard(nil, "end of message", true, code, text)
}

// recipient asks for one.
func (l *awayLoad) recipient(c *awayTalk, phase *awayPhase, s *mailtest.Sent, known bool) {
	if c.k == nil {
		return
	}
	name, step := awayKnown, "RCPT known"
	if !known {
		name, step = awayUnknown, "RCPT unknown"
	}
	to := l.someone(name) + "@" + rig.Domain
	code, text := c.say("RCPT TO:<" + to + ">")
	switch code / 100 {
	case 2:
		s.To = append(s.To, to)
	case 0:
		s.Due = append(s.Due, to)
	}
	l.heard(phase, step, known, code, text)
}

// Local parts that exist, and that do not, begin so.
const (
	awayKnown   = "user"
	awayUnknown = "ghost"
)

// someone is a local part that nobody had so far, so that no answer about it is remembered.
func (l *awayLoad) someone(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	return fmt.Sprint(name, l.next)
}

// enter begins a phase; nil: none.
func (l *awayLoad) enter(p *awayPhase) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p != nil {
		own := *p // one of its own each time
		p = &own
	}
	l.phase = p
}

func (l *awayLoad) now() *awayPhase {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.phase
}

// heard holds a reply against what must never be, and against the phase, if it is still the one in which the
// connection began.
func (l *awayLoad) heard(began *awayPhase, step string, known bool, code int, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	strict := began != nil && began == l.phase
	switch {
	case known && code/100 == 5:
		l.wrong = append(l.wrong, fmt.Sprintf("%s: a recipient that exists, and the client is told %s", step, text))
	case !known && code/100 == 2:
		l.wrong = append(l.wrong, fmt.Sprintf("%s: accepted", step))
	case strict && step == "MAIL" && !began.fits(code, 2), strict && step == "RCPT known" && !began.fits(code, began.known), strict && step == "RCPT unknown" && !began.fits(code, began.unknown):
		l.wrong = append(l.wrong, fmt.Sprintf("%s while Backstop is %s: %s", step, began.name, text))
	}
	in := "between"
	if strict {
		in = began.name
	}
	l.seen[in+": "+step+": "+text]++
}

func (l *awayLoad) count(step, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[step+": "+text]++
}

func (l *awayLoad) fault(is bool, format string, args ...any) {
	if !is {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

// add enters a transaction that is over.
func (l *awayLoad) add(s mailtest.Sent, began *awayPhase) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done++
	if began != nil && began == l.phase {
		l.calm++
	}
	if len(s.To)+len(s.Due) > 0 {
		l.sent = append(l.sent, s)
	}
	for _, to := range s.To {
		if strings.HasPrefix(to, awayUnknown) && len(s.Codes) > 0 && s.Codes[0]/100 == 2 {
			l.wrong = append(l.wrong, "a message for "+to+" was accepted")
		}
	}
}

// more waits until so many more transactions have begun and ended in the phase of now.
func (l *awayLoad) more(t testing.TB, n int) {
	t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.calm
	}
	enough := count() + n
	eventually(t, fmt.Sprintf("%d more transactions", n), func() bool { return count() >= enough })
}

// faults are what was wrong since it was last asked.
func (l *awayLoad) faults() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.wrong
	l.wrong = nil
	return w
}

// account ends the load and holds all that was accepted against what the store and the world have.
func (l *awayLoad) account(t testing.TB, b *rig.Beside) {
	t.Helper()
	l.stop()
	b.Settle(t)
	for _, w := range l.faults() {
		t.Error(w)
	}
	held := b.Store.Messages()
	mailtest.CheckOwned(t, l.sent, held)
	for _, m := range b.World.Messages() {
		t.Errorf("this left: %v", m)
	}
	if n := b.World.Asked("MAIL"); n > 0 {
		t.Errorf("%d times something was to leave", n)
	}
	t.Logf("%d transactions, %d messages accepted and stored", l.done, len(held))
	for _, what := range slices.Sorted(maps.Keys(l.seen)) {
		t.Logf("%6d %s", l.seen[what], what)
	}
}
