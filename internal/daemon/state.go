package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"backstop/internal/config"
	"backstop/internal/safefile"
	"backstop/internal/store/sqlite"
)

// openStore opens the state folder.
func (d *Daemon) openStore(cfg *config.Config) error {
	switch {
	case cfg.State == "":
		return nil
	case d.o.Offline:
		d.openKept(cfg)
		return nil
	}
	var store *sqlite.Store
	err := d.lockState(cfg.State)
	if err == nil {
		store, err = sqlite.Open(cfg.State, d.log)
	}
	if err != nil {
		d.unlockState()
		if errors.Is(err, fs.ErrPermission) {
			return &hinted{fmt.Errorf("the state folder %s cannot be used: %w", cfg.State, err), "run as a user who may write there, or name another with state = or --state"}
		}
		if errors.Is(err, safefile.ErrLocked) {
			return &hinted{fmt.Errorf("another backstop uses the state folder %s: %w", cfg.State, err), "stop it first, or give this one a folder of its own with state = or --state"}
		}
		return &hinted{fmt.Errorf("the state folder %s cannot be used: %w", cfg.State, err), "it needs room on a local disk, which `df` shows"}
	}
	d.store = store
	return nil
}

// LockName is the name of the file in the state folder that is locked while a daemon uses it.
const LockName = "backstop.lock"

// lockState makes the state folder this daemon's, before anything in it is looked at: what another's holds is not ours to
// judge, nor to mend.
func (d *Daemon) lockState(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	unlock, err := safefile.Lock(filepath.Join(folder, LockName))
	d.unlock = unlock
	return err
}

func (d *Daemon) unlockState() {
	if d.unlock != nil {
		d.unlock()
		d.unlock = nil
	}
}

// hinted is an error with advice, which the command line prints on a line of its own.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint is the advice.
func (h *hinted) Hint() string { return h.hint }
