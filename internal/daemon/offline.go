package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"backstop/internal/config"
	"backstop/internal/directory"
	"backstop/internal/record"
	"backstop/internal/store/sqlite"
)

// openKept opens what a daemon keeps, to read it alone: the state folder is that daemon's, and a file that
// somebody else makes there, or writes to, may be one that it cannot use. One that is not there is done without; so
// is one that is not ours to open, or damaged, which Unread tells.
func (d *Daemon) openKept(cfg *config.Config) {
	store, err := sqlite.OpenRead(cfg.State)
	switch {
	case err == nil:
		d.store = store
	case !errors.Is(err, fs.ErrNotExist):
		d.unread = append(d.unread, fmt.Sprintf("what the daemon remembers cannot be read, so its own answer may be another: %v", err))
	}
}

// Unread is what of the state folder should be weighed by a daemon that is Offline and could not be read, a sentence each. What is
// decided without it may be decided otherwise by the daemon that runs.
func (d *Daemon) Unread() []string { return d.unread }

// seenStore is where the record of mail is; nil for nowhere.
func (d *Daemon) seenStore() record.Store {
	switch {
	case d.store != nil:
		return d.store
	case len(d.unread) > 0:
		return unreadable{}
	}
	return nil
}

// unreadable is a store that is there, and not for us: what it holds cannot be told.
type unreadable struct{}

var errUnreadable = errors.New("the state folder cannot be read")

func (unreadable) SaveRecords(context.Context, []record.Entry) error { return errUnreadable }
func (unreadable) HasRecord(context.Context, record.Kind, [16]byte, time.Time) (bool, error) {
	return false, errUnreadable
}
func (unreadable) ExpireRecords(context.Context, time.Time) error { return nil }

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
