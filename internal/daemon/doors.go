package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"

	"backstop/internal/config"
	"backstop/internal/evidence"
	"backstop/internal/listen"
	"backstop/internal/milterd"
	"backstop/internal/policyd"
	"backstop/internal/smtp"
	"backstop/internal/smtpd"
)

// listener is one socket that is open.
type listener struct {
	wanted
	l     net.Listener
	serve func(net.Listener) error
}

// wanted is one socket that a configuration names.
type wanted struct {
	door string // as the section that names it
	spec listen.Spec
}

// The doors by the sections that name their sockets.
const (
	doorSMTP      = "smtp"
	doorOutbound  = "outbound"
	doorMilter    = "milter"
	doorPolicy    = "policy"
	doorSocketmap = "socketmap"
	doorTCPTable  = "tcp_table"
	doorPanel     = "panel"
)

// sockets are those that a configuration wants, in its order.
func sockets(cfg *config.Config) []wanted {
	var all []wanted
	for _, spec := range cfg.SMTP.Listen {
		all = append(all, wanted{doorSMTP, spec})
	}
	if out := cfg.Outbound; out != nil {
		for _, spec := range out.Listen {
			all = append(all, wanted{doorOutbound, spec})
		}
	}
	for _, w := range []wanted{
		{doorMilter, cfg.Milter.Listen}, {doorPolicy, cfg.Policy.Listen},
		{doorSocketmap, cfg.Socketmap.Listen}, {doorTCPTable, cfg.TCPTable.Listen},
	} {
		if w.spec != (listen.Spec{}) {
			all = append(all, w)
		}
	}
	return all
}

// doors are all of them; those where nothing listens too, for a reload may open one.
type doors struct {
	smtp, outbound *smtpd.Door
	milter         *milterd.Door
	policy         *policyd.Door
	socketmap      *policyd.Door
	table          *policyd.Door
}

func (d *Daemon) newDoors(s *setup) *doors {
	return &doors{
		smtp: smtpd.New(d.doorConfig(s)), outbound: smtpd.New(d.outboundConfig(s)),
		milter: milterd.New(d.milterConfig(s)), policy: policyd.New(d.policyConfig(s, policyd.Policy)),
		socketmap: policyd.New(d.policyConfig(s, policyd.Socketmap)), table: policyd.New(d.policyConfig(s, policyd.TCPTable)),
	}
}

// configure changes all doors for what begins from now on.
func (o *doors) configure(d *Daemon, s *setup) {
	o.smtp.Configure(d.doorConfig(s))
	o.outbound.Configure(d.outboundConfig(s))
	o.milter.Configure(d.milterConfig(s))
	o.policy.Configure(d.policyConfig(s, policyd.Policy))
	o.socketmap.Configure(d.policyConfig(s, policyd.Socketmap))
	o.table.Configure(d.policyConfig(s, policyd.TCPTable))
}

// one is what all doors have.
type one interface {
	Open() int
	Shutdown(context.Context) error
}

func (o *doors) all() []one {
	return []one{o.smtp, o.outbound, o.milter, o.policy, o.socketmap, o.table}
}

// open is how many connections are open at all doors.
func (o *doors) open() (n int) {
	for _, one := range o.all() {
		n += one.Open()
	}
	return n
}

// shutdown drains all doors at the same time.
func (o *doors) shutdown(ctx context.Context) error {
	all := o.all()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, one := range all {
		wg.Go(func() { errs[i] = one.Shutdown(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// serves is how a door serves one of its listeners.
func (d *Daemon) serves(door string) func(net.Listener) error {
	switch door {
	case doorOutbound:
		return d.doors.outbound.Serve
	case doorMilter:
		return d.doors.milter.Serve
	case doorPolicy:
		return d.doors.policy.Serve
	case doorSocketmap:
		return d.doors.socketmap.Serve
	case doorTCPTable:
		return d.doors.table.Serve
	}
	return d.doors.smtp.Serve
}

// open opens the listeners of s that are not open yet.
func (d *Daemon) open(s *setup) ([]*listener, error) {
	var opened []*listener
	for _, w := range sockets(s.cfg) {
		if d.listeners[w] != nil {
			continue
		}
		l, err := opens(w.door, w.spec)
		if err != nil {
			closeAll(opened)
			return nil, err
		}
		if w.door == doorMilter {
			l = listen.QuickAck(l)
		}
		l = d.limited(w.door, l, s)
		if w.door == doorSMTP {
			l = d.proxied(l, s)
		}
		opened = append(opened, &listener{wanted: w, l: l, serve: d.serves(w.door)})
	}
	return opened, nil
}

// limited puts the limit on connections around a listener. An MTA beside us is told nothing: it takes the end of the
// connection for a reason to try again later.
func (d *Daemon) limited(door string, l net.Listener, s *setup) net.Listener {
	if n := s.cfg.SMTP.MaxConnections; n > 0 {
		l = listen.Limit(l, n, func(c net.Conn) {
			if door != doorSMTP && door != doorOutbound {
				return
			}
			io.WriteString(c, "421 4.3.2 "+d.current.Load().cfg.Hostname+" Too many connections, try again later\r\n")
		})
	}
	return l
}

// proxied puts the PROXY header around a listener.
func (d *Daemon) proxied(l net.Listener, s *setup) net.Listener {
	if len(s.cfg.SMTP.ProxyProtocol) == 0 {
		return l
	}
	return listen.Proxy(l, within(func() *config.SMTP { return &d.current.Load().cfg.SMTP }, proxyNetworks))
}

func (d *Daemon) run(l *listener) {
	d.sockets.Lock()
	d.listeners[l.wanted] = l
	d.sockets.Unlock()
	d.running.Add(1)
	go func() {
		defer d.running.Done()
		if err := l.serve(l.l); err != nil && !errors.Is(err, smtp.ErrServerClosed) && !errors.Is(err, listen.ErrLoopClosed) && !errors.Is(err, net.ErrClosed) {
			d.log.Error("a listener failed", "listen", l.spec.String(), "error", err.Error())
		}
	}()
}

func closeAll(ls []*listener) {
	for _, l := range ls {
		l.l.Close()
	}
}

// closeBut closes all listeners but these, and says which they were.
func (d *Daemon) closeBut(keep []wanted) []string {
	var gone []*listener
	d.sockets.Lock()
	for w, l := range d.listeners {
		if !slices.Contains(keep, w) {
			l.l.Close()
			delete(d.listeners, w)
			gone = append(gone, l)
		}
	}
	d.sockets.Unlock()
	list := addresses(gone, nil)
	slices.Sort(list)
	return list
}

// addresses are where these listen, and the panel behind them.
func addresses(ls []*listener, web *webServer) []string {
	var a []string
	for _, l := range ls {
		a = append(a, l.l.Addr().String())
	}
	if web != nil {
		a = append(a, web.l.Addr().String())
	}
	return a
}

// opens opens a socket of a door. The error says what to do about it there.
func opens(door string, spec listen.Spec) (net.Listener, error) {
	l, err := spec.Listen()
	if err == nil {
		return l, nil
	}
	var advised interface{ Hint() string }
	if errors.As(err, &advised) && advised.Hint() != "" {
		return nil, err
	}
	if advice := socketAdvice(door, err); advice != "" {
		return nil, &hinted{err, advice}
	}
	return nil, err
}

// socketAdvice is what to do about a socket that cannot be had, "" where nothing can be said.
func socketAdvice(door string, err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && door == doorSMTP:
		return "another program has that port, mostly the mail server itself (`ss -ltnp` names it): move it, or name the gateway's own address in listen"
	case errors.Is(err, syscall.EADDRINUSE):
		return "another program has that port (`ss -ltnp` names it): write another one into listen of [" + door + "], and tell those who connect there"
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 want root or CAP_NET_BIND_SERVICE, which the systemd unit gives; or listen on another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "`ip address` shows the addresses of this machine"
	}
	return ""
}

// doorConfig is what the SMTP door is told of a setup.
func (d *Daemon) doorConfig(s *setup) smtpd.Config {
	c := &s.cfg.SMTP
	w := smtp.ServerConfig{
		Hostname: s.cfg.Hostname, MaxMessageSize: c.MaxMessageSize, MaxRecipients: c.MaxRecipients,
		MaxLine: c.MaxLineLength, MaxTextLine: c.MaxTextLine, MaxErrors: c.MaxErrors, MaxCommands: c.MaxCommands,
		Timeouts: smtp.ServerTimeouts{
			Command: c.Timeouts.Command, Data: c.Timeouts.Data, Message: c.Timeouts.Message,
			Session: c.Timeouts.Session, MinRate: c.Timeouts.MinRate,
		},
		BannerDelay: c.BannerDelay,
		Binary:      s.binary,
		Panic:       d.panicked(evidence.DoorSMTP),
	}
	self := func() *config.SMTP { return c }
	if len(c.XClient) > 0 {
		w.XClient = within(self, xclientNetworks)
	}
	if len(c.AllowBareNewline) > 0 {
		w.AllowBareNewline = within(self, bareNetworks)
	}
	if c.TLS != nil {
		w.TLS = &tls.Config{Certificates: []tls.Certificate{c.TLS.Certificate}, MinVersion: tls.VersionTLS12}
	}
	if d.clients == nil || d.clients.Max != c.PerClient {
		d.clients = &listen.PerClient{Max: c.PerClient}
	}
	return smtpd.Config{Wire: w, Kind: evidence.DoorSMTP, Engine: s.engine, Clients: d.clients}
}

// outboundConfig is what the outbound door is told: the wire of the other, without what is meant for strangers.
func (d *Daemon) outboundConfig(s *setup) smtpd.Config {
	c := d.doorConfig(s)
	c.Kind, c.Clients = evidence.DoorOutbound, &listen.PerClient{}
	c.Wire.Panic = d.panicked(c.Kind)
	c.Wire.BannerDelay, c.Wire.XClient = 0, nil
	return c
}

// panicked writes down a fault of ours at a door.
func (d *Daemon) panicked(door evidence.Door) func(v any, stack []byte) {
	return func(v any, stack []byte) {
		d.log.Error("internal error, answered 451", "door", door.String(), "panic", fmt.Sprint(v), "stack", string(stack))
	}
}

// milterConfig is what the milter door is told.
func (d *Daemon) milterConfig(s *setup) milterd.Config {
	return milterd.Config{Engine: s.engine, Logger: d.log, Panic: d.panicked(evidence.DoorMilter)}
}

// policyConfig is what the policy service and the maps are told.
func (d *Daemon) policyConfig(s *setup, p policyd.Protocol) policyd.Config {
	return policyd.Config{Protocol: p, Map: s.cfg.TCPTable.Map.String(), Engine: s.engine, Logger: d.log, Panic: d.panicked(p.Door())}
}
