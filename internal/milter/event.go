package milter

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// event takes one packet. An error ends the connection.
func (c *Conn) event(command byte, data []byte) error {
	switch command {
	case cmdMacro:
		return c.mac.set(data)
	case cmdAbort:
		c.over(rankMail)
		return nil
	case cmdQuit:
		return errQuit
	case cmdQuitNC:
		c.quitNC()
		return nil
	case cmdConnect:
		return c.connect(data)
	}
	if !c.connected {
		return broken("%q before CONNECT", command)
	}
	switch command {
	case cmdHelo:
		return c.helo(data)
	case cmdMail:
		return c.mail(data)
	case cmdUnknown:
		return c.unknown(data)
	case cmdRcpt, cmdData, cmdHeader, cmdEOH, cmdBody, cmdEOB:
	default:
		return broken("command %q", command)
	}
	if !c.open {
		return broken("%q outside of a transaction", command)
	}
	switch command {
	case cmdRcpt:
		return c.rcpt(data)
	case cmdData:
		return c.begin()
	}
	return c.message(command, data)
}

// over ends the transaction, if one is open, and forgets the macros of its stages from rank on.
func (c *Conn) over(rank int) {
	c.mac.forget(rank)
	c.data, c.late = false, Response{}
	if c.open {
		c.open = false
		c.h.Abort()
	}
	c.setBusy(false)
}

// quitNC ends the client's connection; another begins on this one of the MTA (SMFIC_QUIT_NC).
func (c *Conn) quitNC() {
	c.over(rankConnect)
	c.connected = false
	if h := c.h; h != nil {
		c.h = nil
		h.Close()
	}
}

func (c *Conn) connect(data []byte) error {
	if c.connected {
		return broken("a second CONNECT")
	}
	client, err := parseClient(data)
	if err != nil {
		return err
	}
	c.mac.forget(rankConnect + 1)
	c.connected = true
	c.owed = !c.Does(NRConnect)
	c.h = c.cfg.NewHandler(c)
	return c.answer(c.h.Connect(client))
}

// parseClient reads the data of SMFIC_CONNECT. Only a name without its end breaks the protocol: what else makes
// no sense is a client that is not known, since MTAs pass on here what they were told by others (XCLIENT, PROXY).
func parseClient(data []byte) (Client, error) {
	name, rest, err := takeString(data)
	c := Client{Name: string(name), Family: 'U'}
	if err != nil || len(rest) < 3 {
		return c, err
	}
	family, port := rest[0], binary.BigEndian.Uint16(rest[1:])
	addr, _, err := takeString(rest[3:])
	if err != nil {
		return c, nil
	}
	switch family {
	case 'L':
		c.Family, c.Path = 'L', string(addr)
	case '4', '6':
		s := string(addr)
		if len(s) > 5 && strings.EqualFold(s[:5], "IPv6:") {
			s = s[5:] // Sendmail writes it as in an address literal
		}
		a, err := netip.ParseAddr(s)
		if err != nil {
			return c, nil
		}
		c.Addr, c.Port, c.Family = a.Unmap().WithZone(""), port, '6'
		if c.Addr.Is4() {
			c.Family = '4'
		}
	}
	return c, nil
}

func (c *Conn) helo(data []byte) error {
	name, err := takeOne(data)
	if err != nil {
		return err
	}
	c.over(rankMail)
	c.owed = !c.Does(NRHelo)
	return c.answer(c.h.Helo(name))
}

func (c *Conn) mail(data []byte) error {
	path, args, err := parsePath(data)
	if err != nil {
		return err
	}
	c.over(rankRcpt) // the macros of MAIL came before it
	c.owed = !c.Does(NRMail)
	if !c.beginBusy() {
		return errDraining // it came with the ABORT before it, in one write
	}
	c.open = true
	r := c.h.Mail(path, args)
	goes := r.Action == Continue || !c.owed
	if err := c.answer(r); err != nil {
		return err
	}
	if !goes {
		c.over(rankMail)
	}
	return nil
}

// parsePath reads the data of SMFIC_MAIL and SMFIC_RCPT.
func parsePath(data []byte) (path string, args []string, err error) {
	list, err := takeStrings(data)
	if err != nil {
		return "", nil, err
	}
	if len(list) == 0 {
		return "", nil, broken("no address")
	}
	path = list[0]
	if n := len(path); n >= 2 && path[0] == '<' && path[n-1] == '>' {
		path = path[1 : n-1]
	}
	return path, list[1:], nil
}

func (c *Conn) rcpt(data []byte) error {
	if c.data {
		return broken("RCPT behind DATA")
	}
	path, args, err := parsePath(data)
	if err != nil {
		return err
	}
	c.mac.forget(rankRcpt + 1)
	c.owed = !c.Does(NRRcpt)
	r := c.h.Rcpt(path, args)
	// A refusal is the recipient's alone; these two are the message's.
	last := c.owed && (r.Action == Accept || r.Action == Discard)
	if err := c.answer(r); err != nil {
		return err
	}
	c.mac.forget(rankRcpt) // an MTA that has none for the next recipient sends none, and these are not his
	if last {
		c.over(rankMail)
	}
	return nil
}

// begin takes DATA.
func (c *Conn) begin() error {
	if c.data {
		return broken("a second DATA")
	}
	c.mac.forget(rankData + 1)
	c.data = true
	c.owed = !c.Does(NRData)
	r := c.h.Data()
	if !c.owed {
		c.late = r
		return nil
	}
	if err := c.answer(r); err != nil {
		return err
	}
	if r.Action != Continue {
		c.over(rankMail)
	}
	return nil
}

func (c *Conn) unknown(data []byte) error {
	command, err := takeOne(data)
	if err != nil {
		return err
	}
	c.owed = !c.Does(NRUnknown)
	return c.answer(c.h.Unknown(command))
}

// message takes the first part of a message, and lets the handler read the others.
func (c *Conn) message(command byte, data []byte) error {
	if !c.data { // an MTA of before version 4
		c.data = true
		c.late = c.h.Data()
	}
	m := &Message{c: c}
	m.take(command, data)
	r := c.late
	if r.Action == Continue && m.fatal == nil {
		r = c.h.Message(m)
	}
	err := m.finish(r)
	if err == nil {
		c.over(rankMail)
	}
	if m.last == cmdQuitNC {
		c.quitNC()
	}
	return err
}
