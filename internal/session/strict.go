package session

import (
	"strings"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Strict says that what is no address is refused to this recipient, as he was given: his domain, behind the last "@", is
// ours, and does not only watch. An MTA beside us takes more for an address than we do, and what it means in domains of
// its own, or without one, is its own business.
func (e *Engine) Strict(recipient string) bool {
	at := strings.LastIndexByte(recipient, '@')
	if at < 0 || e.Table == nil {
		return false
	}
	name, err := mail.FoldDomain(recipient[at+1:])
	if err != nil {
		return false
	}
	d := e.named(name)
	return d != nil && d.Mode == evidence.Enforce
}
