package daemon

import (
	"fmt"
	"strings"
	"time"

	"backstop/internal/batv"
	"backstop/internal/evidence"
	"backstop/internal/keyfile"
	"backstop/internal/metrics"
)

// KeyStatus is how the keys of tags and seals are.
type KeyStatus struct {
	Keys    int    `json:"keys"`              // that are not retired
	Signs   string `json:"signs,omitempty"`   // the number of the one that signs now
	Detail  string `json:"detail,omitempty"`  // what is wrong with their file
	Exposed bool   `json:"exposed,omitempty"` // others than its owner may read the file
}

// TagStatus is how far a domain is with tags.
type TagStatus struct {
	Domain string    `json:"domain"`
	Batv   string    `json:"batv"`
	Since  time.Time `json:"since,omitzero"` // tagged since then
	Due    time.Time `json:"due,omitzero"`   // from then on a bounce without tag can be refused
}

// trustStatus adds who is asked about senders, and by what bounces are known.
func (d *Daemon) trustStatus(s *setup, st *Status) {
	now := d.o.Now()
	if s.dns != nil {
		dns := s.dns.State()
		for _, server := range dns.Servers {
			p := PeerStatus{Name: server.Address, State: "up"}
			switch {
			case dns.Asked == 0:
				p.State = "unused"
			case !server.Since.IsZero():
				p.State, p.Since, p.Detail = "down", server.Since, server.LastError
			}
			st.DNS = append(st.DNS, p)
		}
		if dns.Turned > 0 && len(st.DNS) > 0 {
			st.DNS[0].Detail = strings.TrimPrefix(fmt.Sprintf("%s, %d questions were turned away below domains that do not answer", st.DNS[0].Detail, dns.Turned), ", ")
		}
		if dns.Down && needsDNS(s.cfg) {
			st.Wrong = append(st.Wrong, "no DNS server answers, so SPF, DKIM and DMARC cannot be asked: "+dns.LastError)
		}
		if dns.FileError != "" {
			st.Wrong = append(st.Wrong, "the list of DNS servers cannot be read: "+dns.FileError)
		}
	}
	if keys := d.keys.Load(); keys != nil {
		st.Keys = keyStatus(keys, now, st)
	}
	if lost := s.tags.want[momentLost]; !lost.IsZero() && now.Before(lost.Add(batv.Lifetime)) {
		st.Wrong = append(st.Wrong, fmt.Sprintf("the keys of tags and seals were gone on %s, and new ones were made: bounces of what was sent before are no longer proven by them",
			lost.UTC().Format(time.RFC3339)))
	}
	d.mailboxStatus(s, now, st)
	for i := range s.cfg.Domains {
		c := &s.cfg.Domains[i]
		if c.Guards.Tags == evidence.TagOff {
			continue
		}
		t := TagStatus{Domain: c.Name, Batv: c.Guards.Tags.String(), Since: s.domains[s.cfg.Routes.Find(c.Name)].TagsSince}
		if !t.Since.IsZero() {
			t.Due = t.Since.Add(batv.Lifetime)
		}
		st.Tags = append(st.Tags, t)
	}
	if r := d.record.State(); r.LastError != "" {
		st.Wrong = append(st.Wrong, "the record of mail cannot be written: "+r.LastError)
	}
	if t := d.tally.State(); t.LastError != "" {
		st.Wrong = append(st.Wrong, "the counts of bounces cannot be written: "+t.LastError)
	}
}

func keyStatus(keys *keyfile.File, now time.Time, st *Status) *KeyStatus {
	file := keys.State()
	k := &KeyStatus{Keys: file.Keys, Exposed: file.Exposed}
	if signer, ok := keys.Ring().Signer(now); ok {
		k.Signs = signer.ID.String()
	}
	if file.Err != nil {
		k.Detail = file.Err.Error()
		st.Wrong = append(st.Wrong, "the keys as they stand in their file are not in force: "+k.Detail)
	}
	if file.Exposed {
		st.Wrong = append(st.Wrong, fmt.Sprintf("others than its owner may read %s: chmod 600 it, and make new keys", file.Path))
	}
	return k
}

// trustFigures is what /metrics shows of it.
func (d *Daemon) trustFigures(s *setup, st *metrics.State) {
	if s.dns == nil {
		return
	}
	if dns := s.dns.State(); dns.Asked > 0 {
		st.DNSAsked, st.DNSUp = true, !dns.Down
	}
}
