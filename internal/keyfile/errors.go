package keyfile

import (
	"errors"
	"fmt"
	"time"

	"backstop/internal/keyring"
)

// ErrMemory is the error of changes where there is no file.
var ErrMemory = errors.New("these keys are in memory only, since there is no state folder")

// advised is an error with a line of advice.
type advised struct {
	error
	hint string
}

func (a *advised) Unwrap() error { return a.error }

// Hint is the advice.
func (a *advised) Hint() string { return a.hint }

func hint(advice, format string, args ...any) error {
	return &advised{fmt.Errorf(format, args...), advice}
}

// broken says what can be done about a file that is not understood.
func broken(err error) error {
	return &advised{err, "put a copy of the file back; without one, move it away: new keys are made, and what the old ones signed is no longer proven"}
}

// NeededError is the refusal to retire a key that still has work to do.
type NeededError struct {
	ID    keyring.ID
	Until time.Time // zero: it signs, and no other key takes over from it
}

func (e *NeededError) Error() string {
	if e.Until.IsZero() {
		return fmt.Sprintf("key %v signs, and no other key takes over from it", e.ID)
	}
	return fmt.Sprintf("key %v is needed until %s: what it signed can be under way", e.ID, e.Until.UTC().Format(time.RFC3339))
}

// Hint is what to do.
func (e *NeededError) Hint() string {
	if e.Until.IsZero() {
		return "`backstop keys new` makes one; a key that has leaked is retired at once with --force"
	}
	return "retire it then; a key that has leaked is retired at once with --force, and bounces of what it signed are no longer proven"
}
