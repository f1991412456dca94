package daemon

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"backstop/internal/batv"
	"backstop/internal/config"
	"backstop/internal/evidence"
	"backstop/internal/keyfile"
	"backstop/internal/keyring"
)

// The moments that a daemon keeps.
const (
	momentTags = "batv " // and a domain: senders of it are tagged since then
	momentKeys = "keys"  // there are keys since then
	momentLost = "keys lost"
)

// oldest is before there was a Backstop: a clock that says less is not set yet.
var oldest = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// tagging is since when what is tagged, as one configuration has it. It is made without writing anything down, so that
// a configuration that does not come into force leaves no trace.
type tagging struct {
	known map[string]time.Time // what is written down; nil: that cannot be read
	want  map[string]time.Time // what is to be
	lost  bool                 // there were keys, and they are gone
}

// tagging looks up since when what is tagged.
func (d *Daemon) tagging(cfg *config.Config) tagging {
	known, err := d.moments.Moments(context.Background())
	if err != nil {
		if !d.o.Offline {
			d.log.Error("since when domains are tagged is not known, so nothing is refused for want of a tag", "error", err.Error())
		}
		return tagging{}
	}
	now := d.o.Now()
	t := tagging{known: known, want: map[string]time.Time{}}
	signs := d.firstKey(true)
	if keys, ok := known[momentKeys]; ok {
		t.want[momentKeys] = keys
	} else if wantsKeys(cfg) {
		t.want[momentKeys] = now
	}
	t.lost = signs.IsZero() && wantsKeys(cfg) && slices.ContainsFunc(slices.Collect(maps.Keys(known)), func(name string) bool {
		return name == momentKeys || strings.HasPrefix(name, momentTags)
	})
	if lost := known[momentLost]; t.lost {
		t.want[momentLost] = now
	} else if !lost.IsZero() && now.Before(lost.Add(batv.Lifetime)) {
		t.want[momentLost] = lost
	}
	key := signs // with which the tags are made
	if !cfg.Tags() {
		key = d.firstKey(false)
		if key.IsZero() {
			return t // nobody tags
		}
	}
	if key.IsZero() { // the first one is made when the configuration is in force
		key = now
	}
	for i := range cfg.Domains {
		if c := &cfg.Domains[i]; c.Guards.Tags != evidence.TagOff {
			t.want[momentTags+c.Name] = begun(known[momentTags+c.Name], key, now)
		}
	}
	return t
}

// begun is since when a domain is tagged: as it is written down, but not in the future, nor before anybody's clock was
// set, nor before there was a key. now is returned as it is, so that a clock which is set later does not make time pass.
func begun(known, key, now time.Time) time.Time {
	if known.Before(oldest) || known.After(now) {
		known = now
	}
	if key.After(known) {
		return key
	}
	return known
}

// firstKey is since when there is a key that signs, or one that somebody else signs with (verifies only).
// The zero time: there is none.
func (d *Daemon) firstKey(signs bool) (first time.Time) {
	keys := d.keys.Load()
	if keys == nil || errors.Is(keys.State().Err, fs.ErrNotExist) { // what is still in memory is made anew at the next change
		return time.Time{}
	}
	for _, k := range keys.Ring().Keys() {
		if k.SignsFrom.IsZero() == signs {
			continue
		}
		at := k.Created
		if k.SignsFrom.After(at) {
			at = k.SignsFrom
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// tagsSince is since when senders of a domain are tagged. The zero time: they are not, or nobody knows.
func (t *tagging) tagsSince(domain string) time.Time { return t.want[momentTags+domain] }

// commit writes down what began and what ended with a setup, now that it is in force.
func (d *Daemon) commit(t *tagging) {
	if t.lost {
		d.log.Error("the keys of tags and seals are gone, and new ones were made: bounces of what was sent before are no longer proven by them; nothing is refused for its tag before all mail under way bears new ones",
			"until", t.want[momentLost].Add(batv.Lifetime), "hint", "put a copy of keys.json back, if there is one, and restart")
	}
	if t.known == nil {
		return
	}
	var failed error
	ctx := context.Background()
	for name := range t.known {
		if _, still := t.want[name]; !still {
			failed = errors.Join(failed, d.moments.Ended(ctx, name))
		}
	}
	for name, at := range t.want {
		if known, ok := t.known[name]; !ok || !known.Equal(at) {
			failed = errors.Join(failed, d.moments.Began(ctx, name, at))
		}
	}
	if failed != nil {
		d.log.Error("since when domains are tagged cannot be written down, so the next start may count anew", "error", failed.Error())
	}
	if d.o.Now().Before(oldest) {
		d.log.Warn("the clock of this machine is not set, so tags, seals and signatures cannot be judged")
	}
}

// ring is the keys as they are now.
func (d *Daemon) ring() keyring.Ring {
	if keys := d.keys.Load(); keys != nil {
		return keys.Ring()
	}
	return keyring.Ring{}
}

// wantsKeys says whether anything is tagged or sealed.
func wantsKeys(cfg *config.Config) bool {
	return cfg.Sends() || slices.ContainsFunc(cfg.Domains, func(c config.Domain) bool { return c.Guards.Tags != evidence.TagOff })
}

// needKeys sees to it that there is a key where something is tagged or sealed. Without a state folder
// it lives as long as the process. It is the last that can fail before a setup is in force.
func (d *Daemon) needKeys(cfg *config.Config) error {
	if !wantsKeys(cfg) {
		return nil
	}
	keys := d.keys.Load()
	if keys == nil {
		d.keys.Store(keyfile.Memory(d.o.Now()))
		d.log.Warn("there is no state folder, so tags and seals are forgotten at the end of the process")
		return nil
	}
	made, err := keys.Ensure(d.o.Now())
	switch {
	case errors.Is(err, keyfile.ErrMemory):
	case err != nil:
		return err
	case made:
		d.log.Info("the first key of tags and seals was made")
	}
	return nil
}
