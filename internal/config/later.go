package config

import (
	"net/netip"
	"strings"

	"backstop/internal/listen"
)

// The tables here are of features that this version does not have. Their values are
// checked and then forgotten, because using them is an error: with the feature
// comes a struct, and the table moves to it.

func milterKeys() []key {
	return []key{
		{name: "listen", set: text(new(listen.Spec), func(s string) (listen.Spec, error) { return listen.Parse(strings.TrimPrefix(s, "inet:")) })},
		{name: "internal", set: networks(new([]netip.Prefix), "")},
	}
}

// listenerKeys are those of a section that does nothing but listen.
func listenerKeys() []key {
	return []key{{name: "listen", set: socket(new(listen.Spec))}}
}
