package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"backstop/internal/milter"
)

// The clients that the generator says it has as an MTA: a stranger, whom the SPF records of the senders allow, and one whose mail leaves.
const (
	strangeClient = "127.0.0.77"
	homeClient    = "192.0.2.1"
)

// play is one transaction of an MTA with its filter.
type play func(*milterAsker) error

// milterAsker is an MTA with one client, who plays transactions in turn.
type milterAsker struct {
	net.Conn
	whom
	mta   *milter.MTA
	plays []play
	n     int
}

func dialMilter(addr, client string, listed int, plays ...play) (asker, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	mta, err := milter.NewMTA(conn, milter.Offer{Timeout: sessionTimeout})
	if err != nil {
		return nil, fmt.Errorf("milter: %w", err)
	}
	a := &milterAsker{Conn: conn, whom: newWhom(listedStrangers, listed), mta: mta, plays: plays}
	mta.Macros(milter.StageConnect, "j", "mta.bench.example", "{client_addr}", client)
	for _, step := range []func() (milter.Answer, error){
		func() (milter.Answer, error) {
			return mta.Connect(milter.Client{Name: "[" + client + "]", Family: '4', Addr: netip.MustParseAddr(client), Port: 40000})
		},
		func() (milter.Answer, error) { return mta.Helo("load.bench.example") },
	} {
		if err := goesOn(step()); err != nil {
			conn.Close()
			return nil, fmt.Errorf("milter, at first: %w", err)
		}
	}
	return a, nil
}

func (a *milterAsker) ask() error {
	p := a.plays[a.n%len(a.plays)]
	a.n++
	if err := p(a); err != nil {
		return fmt.Errorf("milter: %w", err)
	}
	return nil
}

// goesOn complains where a filter says anything but that the MTA may go on.
func goesOn(answer milter.Answer, err error) error {
	if err != nil {
		return err
	}
	if answer.Action != milter.Continue {
		return fmt.Errorf("answered action %d, %q", answer.Action, answer.Text)
	}
	return nil
}

// refusedPlay are five recipients that nobody has.
func refusedPlay(a *milterAsker) error {
	if err := goesOn(a.mta.Mail("sender@" + knownDomain)); err != nil {
		return fmt.Errorf("MAIL: %w", err)
	}
	for range 5 {
		to, _ := a.next()
		answer, err := a.mta.Rcpt(to)
		if err != nil {
			return fmt.Errorf("RCPT %s: %w", to, err)
		}
		if answer.Action != milter.Reply || answer.Code() != 550 {
			return fmt.Errorf("RCPT %s was answered action %d, %q", to, answer.Action, answer.Text)
		}
	}
	return a.mta.Abort()
}

// parcel is a letter as an MTA hands it to a filter.
type parcel struct {
	from, to string
	fields   []milter.Header // values with their blank, folds as LF
	body     []byte
	shows    []string // must be in what the filter changes; none: it must change nothing
}

// originShown is what the milter inserts into all mail that comes in, with no guard on: by it a bounce of what is forwarded is known.
const originShown = "i Backstop-Origin:"

// parcelOf takes a letter apart. None of its lines begins with a dot but the last.
func parcelOf(l *letter, shows ...string) parcel {
	header, body, _ := bytes.Cut(bytes.TrimSuffix(l.message, []byte(".\r\n")), []byte("\r\n\r\n"))
	p := parcel{from: l.from, to: l.to, body: body, shows: shows}
	for line := range strings.SplitSeq(string(header), "\r\n") {
		if line[0] == ' ' || line[0] == '\t' {
			p.fields[len(p.fields)-1].Value += "\n" + line
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		p.fields = append(p.fields, milter.Header{Name: name, Value: value})
	}
	return p
}

func parcelsOf(letters []letter, shows ...string) []parcel {
	parcels := make([]parcel, len(letters))
	for i := range letters {
		parcels[i] = parcelOf(&letters[i], shows...)
	}
	return parcels
}

// messagePlay passes one of the messages after another.
func messagePlay(parcels []parcel) play {
	return func(a *milterAsker) error {
		p := &parcels[a.n%len(parcels)]
		if err := a.send(p, len(p.body)); err != nil {
			return err
		}
		answer, err := a.mta.EndOfBody()
		if err != nil {
			return fmt.Errorf("end of the message: %w", err)
		}
		if answer.Action != milter.Continue && answer.Action != milter.Accept {
			return fmt.Errorf("the message was answered action %d, %q", answer.Action, answer.Text)
		}
		return p.check(answer.Changes)
	}
}

// brokenPlay gives one of the messages up in the middle.
func brokenPlay(parcels []parcel) play {
	return func(a *milterAsker) error {
		p := &parcels[a.n%len(parcels)]
		if err := a.send(p, len(p.body)/2); err != nil {
			return err
		}
		return a.mta.Abort()
	}
}

// send plays a transaction up to so many octets of the body.
func (a *milterAsker) send(p *parcel, octets int) error {
	if err := goesOn(a.mta.Mail(p.from, fmt.Sprintf("SIZE=%d", len(p.body)))); err != nil {
		return fmt.Errorf("MAIL: %w", err)
	}
	if err := goesOn(a.mta.Rcpt(p.to)); err != nil {
		return fmt.Errorf("RCPT %s: %w", p.to, err)
	}
	a.mta.Macros(milter.StageData, "i", "4bench")
	if err := goesOn(a.mta.Data()); err != nil {
		return fmt.Errorf("DATA: %w", err)
	}
	for _, f := range p.fields {
		if err := goesOn(a.mta.Header(f.Name, f.Value)); err != nil {
			return fmt.Errorf("header field %s: %w", f.Name, err)
		}
	}
	if err := goesOn(a.mta.EOH()); err != nil {
		return fmt.Errorf("end of the header: %w", err)
	}
	answer, err := a.mta.Body(p.body[:octets])
	if answer.Skip {
		answer.Action = milter.Continue
	}
	if err := goesOn(answer, err); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	return nil
}

// check complains where the changes are not those that were to be made.
func (p *parcel) check(changes []milter.Change) error {
	var all strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&all, "%c %s:%s\n", c.Kind, c.Name, c.Value)
	}
	for _, s := range p.shows {
		if !strings.Contains(all.String(), s) {
			return fmt.Errorf("no %q is in what is changed of the message: %q", s, all.String())
		}
	}
	if len(p.shows) == 0 && all.Len() > 0 {
		return fmt.Errorf("the message is changed: %q", all.String())
	}
	return nil
}
