package directory

import (
	"context"
	"errors"
)

// Puller is an outside system all of whose recipients can be had, for a source that
// answers from a copy.
type Puller interface {
	// Full hands every recipient to into.
	Full(ctx context.Context, into Copy) (Pulled, error)
	// Changes hands over what has changed since the pull that gave the cursor. An error
	// that wraps ErrStartOver means that this cannot be told, so that Full is wanted.
	Changes(ctx context.Context, cursor []byte, into Copy) (Pulled, error)
}

// ErrStartOver is wrapped by the error of Changes where only Full can help: the cursor is of
// another server or too old, or the system does not tell changes at all.
var ErrStartOver = errors.New("the changes since the last pull cannot be told")

// Copy takes what a Puller has. An error of its methods ends the pull and is returned by it.
type Copy interface {
	// Take takes a recipient in place of what was known under its id: all the addresses that it
	// has, as they are written there; none of them: it is no recipient (any more). An
	// id is what the system calls the recipient whatever he is renamed to. Where it has none, id is ""
	// and a pull is always a full one. An address that is none is noted and passed over.
	Take(id string, addresses ...string) error
	// Has says whether something is known under the id.
	Has(id string) bool
	// Still says that the recipient with this id, which Has, is there and unchanged.
	Still(id string) error
}

// Pulled is how a pull ended.
type Pulled struct {
	// Cursor is for Changes; nil: there are none to be told, so that the next pull is full.
	Cursor []byte
	// Listed says of Changes that everybody who is there was named by Take or Still: the others are gone.
	Listed bool
}
