package relay

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/route"
	"backstop/internal/smtp"
)

// plainTime is how long a downstream whose TLS failed is spoken to in plain text.
const plainTime = 10 * time.Minute

// loginPause is how long a downstream that refused our login for good is left alone:
// one that hears the wrong password with each message soon locks the account.
const loginPause = time.Minute

// connect opens a conversation, and says to state and log how that went.
func (d *Downstream) connect(ctx context.Context, client evidence.Client) (*smtp.Client, error) {
	if err := d.mayTry(); err != nil {
		return nil, err
	}
	c, err := d.converse(ctx, client, d.tlsMode())
	var se *smtp.StepError
	if errors.As(err, &se) && se.Step == smtp.StepStartTLS && d.route.TLS == route.TLSOpportunistic && d.o.Auth == nil && ctx.Err() == nil {
		d.o.Logger.Warn("TLS with the downstream failed, going on in plain text", "downstream", d.name, "error", err.Error())
		d.mu.Lock()
		d.plain = time.Now().Add(plainTime)
		d.mu.Unlock()
		c, err = d.converse(ctx, client, smtp.TLSOff)
	}
	if ctx.Err() == nil {
		d.report(c, err)
	} else {
		d.mu.Lock()
		d.probing = false
		d.mu.Unlock()
	}
	return c, err
}

// mayTry keeps sessions from piling up before a downstream that swallows
// connections: until it answers again, one session at a time finds out whether it does.
// Where it refused our login, they get the same answer for a while.
func (d *Downstream) mayTry() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.barred != nil && time.Now().Before(d.barredTo):
		return d.barred
	case !d.hung:
		return nil
	case d.probing:
		return errHung
	}
	d.probing = true
	return nil
}

// report remembers how connecting went; a change is logged once.
func (d *Downstream) report(c *smtp.Client, err error) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.probing, d.barred = false, nil
	var no *smtp.RefusedError
	if errors.As(err, &no) && no.Step == smtp.StepAuth && no.Response.Class() == 5 {
		d.barred, d.barredTo = err, now.Add(loginPause)
	}
	if err == nil {
		d.caps, d.capsSeen = c.Capabilities(), true
		d.lastErr, d.hung = "", false
	} else {
		d.lastErr = err.Error()
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
			d.hung = true
		}
	}
	if up := err == nil; up != d.up || !d.asked {
		first := !d.asked
		d.up, d.asked, d.since = up, true, now
		switch {
		case !up:
			d.o.Logger.Error("the downstream is down", "downstream", d.name, "error", d.lastErr)
		case !first:
			d.o.Logger.Info("the downstream is up again", "downstream", d.name)
		}
	}
}

func (d *Downstream) tlsMode() smtp.TLSMode {
	switch d.route.TLS {
	case route.TLSOff:
		return smtp.TLSOff
	case route.TLSRequire:
		return smtp.TLSRequire
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Now().Before(d.plain) {
		return smtp.TLSOff
	}
	return smtp.TLSOpportunistic
}

// converse dials, and gets through banner, EHLO, STARTTLS and AUTH.
func (d *Downstream) converse(ctx context.Context, client evidence.Client, mode smtp.TLSMode) (*smtp.Client, error) {
	network, address := d.route.Address()
	dialing, cancel := context.WithTimeout(ctx, d.o.Timeouts.Connect)
	nc, err := d.o.Dial(dialing, network, address)
	cancel()
	if err != nil {
		return nil, err
	}
	if d.route.Client == route.HandoverPROXY {
		nc.SetWriteDeadline(time.Now().Add(d.o.Timeouts.Connect))
		if _, err := nc.Write(proxyHeader(client, nc.RemoteAddr())); err != nil {
			nc.Close()
			return nil, err
		}
		nc.SetWriteDeadline(time.Time{})
	}
	return smtp.NewClient(ctx, nc, smtp.ClientConfig{
		LocalName: d.o.LocalName, LMTP: d.route.Scheme != route.SMTP,
		TLS: mode, TLSConfig: d.o.TLSConfig, ServerName: d.route.Host, Timeouts: d.o.Timeouts,
		Auth: d.o.Auth,
	})
}

// proxyHeader is a PROXY protocol header, version 1, for the true client.
func proxyHeader(client evidence.Client, to net.Addr) []byte {
	tcp, ok := to.(*net.TCPAddr)
	if !ok || !client.Addr.IsValid() || client.Addr.IsUnspecified() {
		return []byte("PROXY UNKNOWN\r\n")
	}
	src, dst := client.Addr, tcp.AddrPort().Addr().Unmap().WithZone("")
	family := "TCP4"
	if src.Is6() || dst.Is6() { // both in the same family: IPv4 mapped where they differ
		family = "TCP6"
		src, dst = netip.AddrFrom16(src.As16()), netip.AddrFrom16(dst.As16())
	}
	b := append([]byte("PROXY "), family...)
	b = src.AppendTo(append(b, ' '))
	b = dst.AppendTo(append(b, ' '))
	b = strconv.AppendUint(append(b, ' '), uint64(client.Port), 10)
	b = strconv.AppendInt(append(b, ' '), int64(tcp.Port), 10)
	return append(b, '\r', '\n')
}

// attrs are the true client's, for XCLIENT and XFORWARD (Postfix XCLIENT_README, XFORWARD_README).
func attrs(c evidence.Client) []smtp.Attr {
	addr := "" // unknown, as with a Unix socket
	if c.Addr.IsValid() && !c.Addr.IsUnspecified() {
		if addr = c.Addr.String(); c.Addr.Is6() {
			addr = "IPV6:" + addr
		}
	}
	port := ""
	if c.Port != 0 {
		port = strconv.Itoa(int(c.Port))
	}
	proto := "ESMTP"
	if c.Protocol == "SMTP" {
		proto = "SMTP"
	}
	return []smtp.Attr{
		{Name: "NAME", Value: c.Name}, {Name: "ADDR", Value: addr}, {Name: "PORT", Value: port},
		{Name: "PROTO", Value: proto}, {Name: "HELO", Value: c.Helo},
		{Name: "LOGIN", Value: c.Login}, {Name: "SOURCE", Value: "REMOTE"},
	}
}
