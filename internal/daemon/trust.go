package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"backstop/internal/auth"
	"backstop/internal/config"
	"backstop/internal/keyfile"
	"backstop/internal/record"
	"backstop/internal/resolver"
	"backstop/internal/tally"
)

// openTrust opens what is remembered for tags, seals and bounces: the keys, the record of
// mail, and the counts.
func (d *Daemon) openTrust(cfg *config.Config) error {
	if err := d.openKeys(cfg); err != nil {
		return err
	}
	r := record.Config{Now: d.o.Now, Logger: d.log}
	t := tally.Config{Now: d.o.Now, Logger: d.log}
	d.moments, r.Store = &record.InMemory{}, d.seenStore()
	if d.store != nil {
		d.moments = d.store
		if !d.o.Offline {
			t.Store = d.store
		}
	}
	d.record = record.New(r)
	d.tally = tally.New(t)
	return nil
}

// openKeys opens the keys of the state folder, if there is one.
func (d *Daemon) openKeys(cfg *config.Config) error {
	if cfg.State == "" {
		return nil
	}
	if _, err := os.Stat(cfg.State); d.o.Offline && errors.Is(err, fs.ErrNotExist) {
		return nil // as with the store: done without
	}
	keys, err := keyfile.Open(cfg.State, keyfile.Options{Logger: d.log, Now: d.o.Now, NoEvents: d.o.Offline})
	if err != nil {
		if d.o.Offline && errors.Is(err, fs.ErrPermission) {
			d.unread = append(d.unread, fmt.Sprintf("the keys of tags and seals cannot be read, so none is known as genuine: %v", err))
			return nil
		}
		return err
	}
	d.keys.Store(keys)
	return nil
}

func (d *Daemon) closeTrust() {
	if d.record != nil {
		if err := d.record.Close(); err != nil {
			d.log.Error("the last records of mail were not written to the state folder", "error", err.Error())
		}
		if err := d.tally.Close(); err != nil {
			d.log.Error("the last counts of bounces were not written to the state folder", "error", err.Error())
		}
	}
	if keys := d.keys.Load(); keys != nil {
		keys.Close()
	}
}

// resolve makes the resolver and who asks it, or takes those of the setup before.
func (d *Daemon) resolve(s, old *setup) error {
	if old != nil && slices.Equal(old.cfg.DNS.Resolvers, s.cfg.DNS.Resolvers) {
		s.dns, s.auth = old.dns, old.auth
		return nil
	}
	dns, err := resolver.New(resolver.Config{Servers: s.cfg.DNS.Resolvers, Now: d.o.Now, Logger: d.log})
	if err != nil {
		return fmt.Errorf("the DNS cannot be asked: %w", err)
	}
	s.dns = dns
	s.auth = auth.New(auth.Config{Resolver: dns, Now: d.o.Now})
	return nil
}
