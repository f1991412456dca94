package daemon

import (
	"context"
	"time"

	"backstop/internal/config"
	"backstop/internal/directory"
	"backstop/internal/store/sqlite"
)

// openKept opens what a daemon keeps, to read it alone: the state folder is that daemon's, and a file that
// somebody else makes there, or writes to, may be one that it cannot use. One that is not there, not ours
// to open or damaged is done without.
func (d *Daemon) openKept(cfg *config.Config) {
	if store, err := sqlite.OpenRead(cfg.State); err == nil {
		d.store = store
	}
}

// keptStore is where the directory keeps its answers; nil for nowhere.
func (d *Daemon) keptStore() directory.Store {
	switch {
	case d.store == nil:
		return nil
	case d.o.Offline:
		return unwritten{d.store}
	}
	return d.store
}

// unwritten is a store of which what is found out meanwhile is no part.
type unwritten struct{ directory.Store }

func (unwritten) Save(context.Context, []directory.Entry) error      { return nil }
func (unwritten) Forget(context.Context, directory.Pattern) error    { return nil }
func (unwritten) Expire(context.Context, time.Time, time.Time) error { return nil }
