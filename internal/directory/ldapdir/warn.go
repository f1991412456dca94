package ldapdir

import (
	"fmt"
	"net"
)

// Warnings are what the operator should know of the way to the servers: one line each.
func (s *Source) Warnings() []string {
	var all []string
	for _, u := range s.cfg.URLs {
		host := u.Hostname()
		ip := net.ParseIP(host)
		if u.Scheme != "ldap" || s.cfg.StartTLS || host == "localhost" || ip != nil && ip.IsLoopback() {
			continue
		}
		what := "is asked over ldap://"
		if s.cfg.Password != "" {
			what = "gets the password over ldap://, where it can be read on the way"
		}
		all = append(all, fmt.Sprintf("%s %s, and anybody on the way can answer for it: write ldaps://, or starttls = true", u.Host, what))
	}
	return all
}
