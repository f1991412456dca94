package directory

import (
	"context"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Anybody is the source that says yes to everybody: for a domain whose catch-all is meant.
type Anybody struct{}

// Name implements Source.
func (Anybody) Name() string { return "anybody" }

// Known implements Known.
func (Anybody) Known(string) evidence.Standing { return evidence.Exists }

// Lookup implements Source.
func (Anybody) Lookup(context.Context, mail.Address) Answer {
	return Answer{Standing: evidence.Exists, Blind: true, Detail: "everybody exists here, as configured"}
}
