package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// The load's addresses. Recipients that exist are user0000000 … of the domain, as many as were listed; every other local
// part is unknown. The first domain has a list of its recipients, the second is asked of its downstream.
const (
	listedDomain = "bench.example"
	askedDomain  = "asked.example"
)

// load is what one session of the generator does.
type load struct {
	addr      string
	pipelined bool   // MAIL and the RCPTs in one write
	unknown   int    // recipients to be refused in a session; 0: one known recipient and a message
	refusal   int    // the code of a refusal; 0: 550
	message   []byte // as it goes over the wire, the final dot included
	listed    int    // how many recipients exist
	letters   []letter
	next      *atomic.Uint64 // which of the letters all clients together have come to
}

// letter is a message with an envelope of its own. Where a load has some, its sessions send one each, in turn.
type letter struct {
	from, to string
	message  []byte // as it goes over the wire
}

// newMail is the load of these letters.
func newMail(letters []letter) *load { return &load{letters: letters, next: new(atomic.Uint64)} }

// sample is what came of a number of sessions.
type sample struct {
	sessions  int
	latencies []time.Duration // connect to the answer of QUIT
	took      time.Duration   // from the first to the end of the last
}

// sessionTimeout bounds one session, so that a server that hangs ends the run with an error.
const sessionTimeout = 60 * time.Second

// workerSeq makes the unknown recipients of all workers different ones, so that no cache can know them.
var workerSeq atomic.Uint64

// people makes up recipients for one worker.
type people struct {
	id     uint64
	count  uint64
	random uint64
	known  int // how many exist
}

func newPeople(known int) people {
	id := workerSeq.Add(1)
	return people{id: id, random: id*0x9e3779b97f4a7c15 + 1, known: known}
}

// someone appends the address of one who exists.
func (p *people) someone(out []byte) []byte {
	// A linear congruential generator: any spread over the list will do.
	p.random = p.random*6364136223846793005 + 1442695040888963407
	return append(appendUser(out, int((p.random>>33)%uint64(p.known))), "@"+listedDomain...)
}

// nobody appends the address of one who does not, and of whom nobody has heard.
func (p *people) nobody(out []byte) []byte {
	p.count++
	out = append(out, "nobody."...)
	out = strconv.AppendUint(out, p.id, 36)
	out = append(out, '.')
	out = strconv.AppendUint(out, p.count, 36)
	return append(out, "@"+listedDomain...)
}

// worker is one client of the generator: one connection at a time, everything else reused.
type worker struct {
	load
	people
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	took []time.Duration
}

func newWorker(l load) *worker {
	return &worker{load: l, people: newPeople(l.listed), in: bufio.NewReaderSize(nil, 4096)}
}

// run keeps the given number of clients busy for a time. The first reply that is not the expected one ends it.
func (l load) run(ctx context.Context, clients int, d time.Duration) (sample, error) {
	end := time.Now().Add(d)
	return l.each(clients, func(w *worker) error {
		for ctx.Err() == nil && time.Now().Before(end) {
			begun := time.Now()
			if err := w.session(); err != nil {
				return err
			}
			w.took = append(w.took, time.Since(begun))
		}
		return ctx.Err()
	})
}

// paced starts sessions at a fixed rate, whatever becomes of the ones before. A session that had to wait because the clients
// were all busy counts from the moment at which it was due: otherwise a server that stalls would hide its own stall.
func (l load) paced(ctx context.Context, clients int, rate float64, d time.Duration) (sample, error) {
	var next atomic.Int64
	start := time.Now()
	return l.each(clients, func(w *worker) error {
		for {
			due := start.Add(time.Duration(float64(next.Add(1)-1) / rate * float64(time.Second)))
			if due.Sub(start) >= d {
				return nil
			}
			begun := due
			if wait := time.Until(due); wait > 0 {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(wait):
				}
				begun = time.Now() // a timer that rang late is the generator's fault, not the server's
			}
			if err := w.session(); err != nil {
				return err
			}
			w.took = append(w.took, time.Since(begun))
		}
	})
}

// each runs the clients side by side and collects what they measured.
func (l load) each(clients int, client func(*worker) error) (sample, error) {
	workers := make([]*worker, clients)
	failures := make([]error, clients)
	var all sync.WaitGroup
	begun := time.Now()
	for i := range workers {
		workers[i] = newWorker(l)
		all.Go(func() { failures[i] = client(workers[i]) })
	}
	all.Wait()
	s := sample{took: time.Since(begun)}
	for _, w := range workers {
		s.sessions += len(w.took)
		s.latencies = append(s.latencies, w.took...)
	}
	return s, errors.Join(failures...)
}

// session plays one session from connect to the answer of QUIT.
func (w *worker) session() error {
	if err := w.connect(); err != nil {
		return err
	}
	defer w.conn.Close()
	if err := w.transaction(); err != nil {
		return err
	}
	return w.ask("QUIT\r\n", 221)
}

func (w *worker) connect() error {
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		return err
	}
	w.conn = conn
	w.in.Reset(conn)
	if err := conn.SetDeadline(time.Now().Add(sessionTimeout)); err != nil {
		conn.Close()
		return err
	}
	if err := w.expect("connect", 220); err != nil {
		conn.Close()
		return err
	}
	return nil
}

// transaction says EHLO and plays one of the two transactions: recipients that are refused, or one message to one that exists.
func (w *worker) transaction() error {
	if err := w.ask("EHLO load.bench.example\r\n", 250); err != nil {
		return err
	}
	if len(w.letters) > 0 {
		return w.post(&w.letters[w.next.Add(1)%uint64(len(w.letters))])
	}
	const mail = "MAIL FROM:<sender@elsewhere.example>\r\n"
	recipients, code := max(w.unknown, 1), 250
	if w.unknown > 0 {
		code = cmp.Or(w.refusal, 550)
	}
	if w.pipelined {
		w.out = append(w.out[:0], mail...)
		for range recipients {
			w.recipient()
		}
		if _, err := w.conn.Write(w.out); err != nil {
			return err
		}
		if err := w.expect("MAIL", 250); err != nil {
			return err
		}
		for range recipients {
			if err := w.expect("RCPT", code); err != nil {
				return err
			}
		}
	} else {
		if err := w.ask(mail, 250); err != nil {
			return err
		}
		for range recipients {
			w.out = w.out[:0]
			w.recipient()
			if err := w.send("RCPT", w.out, code); err != nil {
				return err
			}
		}
	}
	if w.unknown > 0 {
		return nil
	}
	if err := w.ask("DATA\r\n", 354); err != nil {
		return err
	}
	return w.send("message", w.message, 250)
}

// post sends one letter.
func (w *worker) post(l *letter) error {
	if err := w.ask("MAIL FROM:<"+l.from+">\r\n", 250); err != nil {
		return err
	}
	if err := w.ask("RCPT TO:<"+l.to+">\r\n", 250); err != nil {
		return err
	}
	if err := w.ask("DATA\r\n", 354); err != nil {
		return err
	}
	return w.send("message", l.message, 250)
}

// recipient appends the next RCPT command to the output.
func (w *worker) recipient() {
	w.out = append(w.out, "RCPT TO:<"...)
	if w.unknown > 0 {
		w.out = w.nobody(w.out)
	} else {
		w.out = w.someone(w.out)
	}
	w.out = append(w.out, ">\r\n"...)
}

// appendUser appends the local part of the n-th recipient that exists.
func appendUser(out []byte, n int) []byte {
	out = append(out, "user0000000"...)
	for i := len(out) - 1; n > 0; i-- {
		out[i] = '0' + byte(n%10)
		n /= 10
	}
	return out
}

func (w *worker) ask(command string, code int) error {
	w.out = append(w.out[:0], command...)
	return w.send(command[:4], w.out, code)
}

func (w *worker) send(step string, data []byte, code int) error {
	if _, err := w.conn.Write(data); err != nil {
		return fmt.Errorf("%s: %w", step, err)
	}
	return w.expect(step, code)
}

// expect reads one reply (RFC 5321, 4.2) and compares its code.
func (w *worker) expect(step string, code int) error {
	for {
		line, err := w.in.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
		if len(line) < 4 || int(line[0]-'0')*100+int(line[1]-'0')*10+int(line[2]-'0') != code {
			return fmt.Errorf("%s was answered %q instead of %d", step, line, code)
		}
		if line[3] != '-' {
			return nil
		}
	}
}

// exampleMessage returns a message of about the given size in octets, as it goes over the wire with the final dot.
func exampleMessage(size int) []byte {
	const head = "From: Sender <sender@elsewhere.example>\r\nTo: Recipient <user@bench.example>\r\n" +
		"Subject: An ordinary message\r\nDate: Mon, 05 Jan 2026 10:00:00 +0000\r\n" +
		"Message-ID: <20260105100000.1@elsewhere.example>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: text/plain; charset=us-ascii\r\n\r\n"
	const line = "Seventy-two letters, more or less, as a person might write in one line\r\n"
	const end = ".\r\n"
	message := []byte(head)
	for len(message)+len(line)+len(end) <= size {
		message = append(message, line...)
	}
	return append(message, end...)
}
