package daemon

import (
	"net/netip"

	"backstop/internal/config"
	"backstop/internal/directory/access"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/session"
)

// accessFiles are all access files of a configuration, in its order. What they say
// of clients and senders holds for the whole gateway, whichever domain names them; the
// first that says something decides.
type accessFiles []*access.Source

func (a accessFiles) Client(addr netip.Addr, name string) evidence.Policy {
	for _, s := range a {
		if p := s.Client(addr, name); p.Word != evidence.NothingSaid {
			return p
		}
	}
	return evidence.Policy{}
}

func (a accessFiles) Sender(from mail.Address) evidence.Policy {
	for _, s := range a {
		if p := s.Sender(from); p.Word != evidence.NothingSaid {
			return p
		}
	}
	return evidence.Policy{}
}

// policies opens the access files without any domain's aliases, since those are for recipients:
// a line about senders at an alias is about no other name. No file is nil, and costs nothing.
func (d *Daemon) policies(s, old *setup, cfg *config.Config) (session.Policies, error) {
	var files accessFiles
	seen := map[string]bool{}
	for i := range cfg.Domains {
		for j := range cfg.Domains[i].Sources {
			src := &cfg.Domains[i].Sources[j]
			if src.Kind != config.SourceAccess || seen[src.File] {
				continue
			}
			seen[src.File] = true
			f, err := d.mapFile(s, old, src, nil)
			if err != nil {
				return nil, err
			}
			files = append(files, f)
		}
	}
	if files == nil {
		return nil, nil
	}
	return files, nil
}
