package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"backstop/internal/config"
)

// retired are plugs that only sessions from before a reload still ask. They are closed when
// the last of these must have ended.
type retired struct {
	mu     sync.Mutex
	plugs  map[*plug]*time.Timer
	closed bool
}

// add takes a plug that is in no setup any more. What it does by itself ends at once: its
// successor may keep its copy in the same place.
func (r *retired) add(p *plug, after time.Duration) {
	if p.copied != nil {
		p.copied.Retire()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		p.close()
		return
	}
	if r.plugs == nil {
		r.plugs = map[*plug]*time.Timer{}
	}
	r.plugs[p] = time.AfterFunc(after, func() {
		r.mu.Lock()
		_, ours := r.plugs[p]
		delete(r.plugs, p)
		r.mu.Unlock()
		if ours {
			p.close()
		}
	})
}

// close closes all.
func (r *retired) close() {
	r.mu.Lock()
	plugs := r.plugs
	r.plugs, r.closed = nil, true
	r.mu.Unlock()
	for p, t := range plugs {
		t.Stop()
		p.close()
	}
}

// retire takes the plugs of old that s has not.
func (d *Daemon) retire(old, s *setup) {
	for name, p := range old.plugs {
		if s.plugs[name] != p {
			d.retired.add(p, old.cfg.SMTP.Timeouts.Session)
		}
	}
}

// questionOf is what a source is asked, in few letters: an answer is remembered for this question
// only. Who asks it, and of which of several servers, changes nothing. Of other kinds of source the name says it all.
func questionOf(src *config.Source) string {
	var q string
	switch src.Kind {
	case config.SourceLDAP:
		q = fmt.Sprintf("ldap %q %q", src.LDAP.Base, src.LDAP.Filter)
	case config.SourceSQL:
		u := *src.SQL.URL
		u.User = nil
		q = fmt.Sprintf("sql %q %q", u.String(), src.SQL.Query)
	case config.SourceHTTP:
		u := *src.HTTP.URL
		u.User = nil
		q = fmt.Sprintf("http %q", u.String())
	default:
		return ""
	}
	sum := sha256.Sum256([]byte(q))
	return hex.EncodeToString(sum[:6])
}
