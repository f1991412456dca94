package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"backstop/internal/config"
	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/journal"
	"backstop/internal/keyfile"
	"backstop/internal/listen"
	"backstop/internal/metrics"
	"backstop/internal/record"
	"backstop/internal/session"
	"backstop/internal/store/sqlite"
	"backstop/internal/tally"
	"backstop/internal/verdict"
)

// Options are what a daemon is given beside its configuration.
type Options struct {
	// Journal takes decisions and log lines; nil: one is made that writes to LogTo.
	Journal *journal.Journal
	// LogTo is where a journal of the daemon's own writes, as JSON; nil: nowhere.
	LogTo io.Writer
	// Offline builds only what is needed to decide: nothing listens, and the state folder is
	// read alone; one that is missing or not ours to open is done without.
	Offline bool
	// Now is the clock of decisions and of the cache; nil: time.Now.
	Now func() time.Time
}

// Daemon is a running Backstop.
type Daemon struct {
	o          Options
	journal    *journal.Journal
	ownJournal bool
	log        *slog.Logger
	metrics    *metrics.Metrics
	store      *sqlite.Store // nil: nothing is kept over a restart
	unread     []string      // what of the state folder could not be read, offline
	directory  *directory.Directory
	unlock     func()                       // of the state folder; nil: it is not ours
	keys       atomic.Pointer[keyfile.File] // nil: there is no file of keys, nor are there keys in memory
	moments    record.Moments
	record     *record.Record
	tally      *tally.Tally
	doors      *doors            // nil: offline
	clients    *listen.PerClient // outlives a reload: who is connected stays counted
	started    time.Time
	draining   atomic.Bool
	redirects  redirects
	blocklists atomic.Pointer[blocklists] // nil: nothing is watched
	life       context.Context            // of what is looked up beside the mail
	die        context.CancelFunc
	looking    sync.WaitGroup

	current atomic.Pointer[setup]

	mu        sync.Mutex // orders Start, Reload and Stop
	sockets   sync.Mutex // held, beside mu, to change listeners and web: a stop takes long, and is asked about meanwhile
	listeners map[wanted]*listener
	web       *webServer
	control   *webServer
	retired   retired
	running   sync.WaitGroup
	stopped   bool
}

// New builds a daemon; nothing listens before Start. The error names what could not be had.
func New(cfg *config.Config, o Options) (*Daemon, error) {
	d := &Daemon{o: o, journal: o.Journal, listeners: map[wanted]*listener{}}
	if d.o.Now == nil {
		d.o.Now = time.Now
	}
	if d.journal == nil {
		w := o.LogTo
		if w == nil {
			w = io.Discard
		}
		d.journal, d.ownJournal = journal.New(w, journal.JSON), true
	}
	d.life, d.die = context.WithCancel(context.Background())
	d.log = slog.New(d.journal.Handler())
	d.metrics = metrics.New(verdict.EffectNames(), verdict.RuleNames())
	d.metrics.Watch(d.figures)
	if err := d.openStore(cfg); err != nil {
		d.closeJournal()
		return nil, err
	}
	d.directory = directory.New(d.directoryConfig(cfg))
	err := d.openTrust(cfg)
	var s *setup
	if err == nil {
		s, err = d.build(cfg, nil)
	}
	if err != nil {
		d.closeDirectory()
		d.closeJournal()
		return nil, err
	}
	d.current.Store(s)
	if !o.Offline {
		d.doors = d.newDoors(s)
	}
	return d, nil
}

func (d *Daemon) directoryConfig(cfg *config.Config) directory.Config {
	return directory.Config{
		Store: d.keptStore(), Size: cfg.Cache.Size, Now: d.o.Now, Logger: d.log,
		Lives: lives(cfg.Cache.Lives), Chains: allLives(cfg),
		OnAnswer: func(source string, s evidence.Standing, took time.Duration) {
			d.metrics.Source(source).Looked(s, took)
		},
	}
}

// Start opens every listener that the configuration names, and serves. Where one
// cannot be opened, none is left open. ctx bounds the start only.
func (d *Daemon) Start(_ context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.current.Load()
	d.started = time.Now() // before anybody can ask
	opened, err := d.open(s)
	if err != nil {
		return err
	}
	if err := d.startControl(s); err != nil {
		closeAll(opened)
		return err
	}
	err = d.startWeb(s)
	if err == nil {
		err = d.needKeys(s.cfg)
	}
	if err != nil {
		closeAll(opened)
		d.control.close()
		d.web.close()
		d.control = nil
		d.setWeb(nil)
		return err
	}
	d.commit(&s.tags)
	s.startCopies()
	d.prune(s)
	for _, l := range opened {
		d.run(l)
	}
	d.watchBlocklists(s)
	d.warn(s)
	d.log.Info("started", "domains", len(s.cfg.Domains), "mode", s.cfg.Mode.String(), "listen", addresses(opened, d.web))
	return nil
}

// Reload puts a new configuration in place of the running one, or leaves that
// as it is and says why.
func (d *Daemon) Reload(cfg *config.Config) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return errors.New("the daemon is stopping")
	}
	old := d.current.Load()
	s, err := d.build(cfg, old)
	if err != nil {
		return err
	}
	opened, err := d.open(s)
	if err != nil {
		s.closeNew(old)
		return err
	}
	web, err := d.reopenWeb(s, old)
	if err == nil {
		if err = d.needKeys(cfg); err != nil && web != d.web {
			web.close()
		}
	}
	if err != nil {
		closeAll(opened)
		s.closeNew(old)
		return err
	}
	var gone []string
	var newWeb *webServer
	if web != d.web {
		gone, newWeb = addresses(nil, d.web), web
		d.web.close()
		d.setWeb(web)
	}
	d.current.Store(s)
	d.commit(&s.tags)
	d.doors.configure(d, s)
	for _, l := range opened {
		d.run(l)
	}
	gone = append(d.closeBut(sockets(cfg)), gone...)
	d.retire(old, s)
	d.watchBlocklists(s)
	old.closeButPlugs(s) // what only the old configuration used
	s.startCopies()
	d.directory.Keep(allLives(cfg))
	d.prune(s)
	d.sayReloaded(addresses(opened, newWeb), gone)
	d.sayUnchanged(old.cfg, cfg)
	d.warn(s)
	return nil
}

// sayReloaded tells that a new configuration holds, and which listeners came and went with it.
func (d *Daemon) sayReloaded(opened, closed []string) {
	var changes []any
	if len(opened) > 0 {
		changes = append(changes, "opened", opened)
	}
	if len(closed) > 0 {
		changes = append(changes, "closed", closed)
	}
	d.log.Info("the configuration was reloaded", changes...)
}

// sayUnchanged tells which changes wait for a restart.
func (d *Daemon) sayUnchanged(old, now *config.Config) {
	for what, changed := range map[string]bool{
		"state":           old.State != now.State,
		"cache.size":      old.Cache.Size != now.Cache.Size,
		"max_connections": old.SMTP.MaxConnections != now.SMTP.MaxConnections,
		"proxy_protocol":  (len(old.SMTP.ProxyProtocol) == 0) != (len(now.SMTP.ProxyProtocol) == 0),
	} {
		if changed {
			d.log.Warn("a changed setting takes effect at the next restart only", "setting", what)
		}
	}
}

// Stop drains the daemon: it listens no more, says 421 to whoever is not in the
// middle of a message, and waits for the others up to the configured time or ctx.
// The error says what was cut off.
func (d *Daemon) Stop(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return nil
	}
	d.stopped = true
	d.draining.Store(true)
	d.die()
	d.looking.Wait()
	d.stopBlocklists()
	s := d.current.Load()
	var err error
	if d.doors != nil {
		drain, cancel := context.WithTimeout(ctx, s.cfg.Drain)
		d.log.Info("stopping", "open_sessions", d.doors.open())
		if e := d.doors.shutdown(drain); e != nil {
			err = fmt.Errorf("some sessions were cut off: %w", e)
		}
		cancel()
		for _, l := range d.listeners {
			l.l.Close()
		}
		d.running.Wait()
	}
	d.web.close()
	d.control.close()
	s.closeNew(nil)
	d.retired.close()
	d.closeDirectory()
	d.log.Info("stopped")
	d.journal.Flush()
	d.closeJournal()
	return err
}

func (d *Daemon) closeDirectory() {
	d.closeTrust()
	if err := d.directory.Close(); err != nil {
		d.log.Error("the last answers were not written to the state folder", "error", err.Error())
	}
	if d.store != nil {
		d.store.Close()
	}
	d.unlockState()
}

func (d *Daemon) closeJournal() {
	if d.ownJournal {
		d.journal.Close()
	}
}

// Addrs are the addresses that are listened on, by door ("smtp", "outbound", "milter", "policy", "socketmap", "tcp_table", "panel").
func (d *Daemon) Addrs() map[string][]net.Addr {
	d.sockets.Lock()
	defer d.sockets.Unlock()
	a := map[string][]net.Addr{}
	for _, w := range sockets(d.current.Load().cfg) {
		if l := d.listeners[w]; l != nil {
			a[w.door] = append(a[w.door], l.l.Addr())
		}
	}
	if d.web != nil {
		a["panel"] = []net.Addr{d.web.l.Addr()}
	}
	return a
}

// Engine is the engine in force, for whoever decides without a door.
func (d *Daemon) Engine() *session.Engine { return d.current.Load().engine }
