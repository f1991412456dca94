package config

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a password or key that no log, message or dump ever shows.
type Secret struct{ value string }

// hidden is all that anybody sees of a secret.
const hidden = "<secret>"

// NewSecret makes a secret of a value that came from elsewhere.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal is the secret itself, for the one place that needs it.
func (s Secret) Reveal() string { return s.value }

// IsZero says whether there is no secret.
func (s Secret) IsZero() bool { return s.value == "" }

// String is "<secret>", or "" for none.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return hidden
}

// Format keeps every verb of fmt from looking inside.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// MarshalText serves JSON, TOML and XML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue serves slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
