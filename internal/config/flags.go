package config

import (
	"strconv"
	"strings"
)

// FromFlags makes the configuration that a file with these listeners, domains
// and state would give. Each of relays is DOMAIN=HOST:PORT or DOMAIN=URL; no listen
// means the default; an empty state keeps nothing over a restart. An error is an
// *Errors that names the flags instead of lines.
func FromFlags(listen, relays []string, state string) (*Config, error) {
	at := func(flag string) position { return position{file: flag} }
	root := &node{at: at("--relay"), made: byHeader}
	root.put("state", at("--state"), flagText("--state", state))
	if len(listen) > 0 {
		sockets := &node{kind: kindArray, at: at("--listen")}
		for _, l := range listen {
			sockets.elems = append(sockets.elems, flagText("--listen", l))
		}
		smtp := root.put("smtp", at("--listen"), &node{at: at("--listen")})
		smtp.put("listen", at("--listen"), sockets)
	}
	if len(relays) == 0 {
		return nil, &Errors{[]Problem{{File: "--relay", Message: "there is no domain, so no mail would be accepted", Hint: flagHint}}}
	}
	domains := root.put("domain", at("--relay"), &node{kind: kindArray, at: at("--relay"), made: byArray})
	for _, r := range relays {
		name, target, ok := strings.Cut(r, "=")
		if !ok || name == "" || target == "" {
			return nil, &Errors{[]Problem{{File: "--relay", Message: "relay: " + strconv.Quote(r) + " is not DOMAIN=HOST:PORT", Hint: flagHint}}}
		}
		if !strings.Contains(target, "://") {
			target = "smtp://" + target
		}
		domain := &node{at: at("--relay")}
		domain.put("name", at("--relay"), flagText("--relay", name))
		domain.put("relay", at("--relay"), flagText("--relay", target))
		domains.elems = append(domains.elems, domain)
	}
	return decode("--relay", "", root)
}

const flagHint = "write --relay example.com=HOST:PORT, once for each domain"

func flagText(flag, value string) *node {
	return &node{kind: kindText, at: position{file: flag}, text: value}
}
