package ldapdir

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"backstop/internal/directory"

	"github.com/go-ldap/ldap/v3"
)

// cursor is how far a pull has come. Numbers and stamps are a server's own, so it
// names the server.
type cursor struct {
	Server     string `json:"server"`               // its URL
	Base       string `json:"base"`                 // what was pulled: with another base or
	Filter     string `json:"filter"`               // another filter there is no telling what changed
	Attributes string `json:"attributes"`           // or other attributes
	Service    string `json:"service,omitempty"`    // AD: the domain controller's settings
	Invocation string `json:"invocation,omitempty"` // AD: its database, which is new after a restore
	USN        int64  `json:"usn,omitempty"`        // AD: its last change that was seen
	Read       int64  `json:"read,omitempty"`       // AD: when that was, in seconds since 1970
	Time       string `json:"time,omitempty"`       // others: stamps from then on are not seen
}

// margin is how much older than the latest stamp a change may be and yet be new to
// us: clocks of several masters differ, and a replica is told late.
const margin = 10 * time.Minute

// keepsDeleted is how long the deleted are surely remembered: Active Directory forgets them after 60
// or 180 days.
const keepsDeleted = 30 * 24 * time.Hour

// cursor is where the server stands, before anything else is read: what changes while the pull
// goes on is read again next time.
func (p *pull) cursor(ctx context.Context) (*cursor, error) {
	r := &p.c.root
	cur := &cursor{
		Server: p.c.server.name, Base: p.s.cfg.Base, Filter: p.s.cfg.Filter,
		Attributes: strings.Join(p.s.cfg.Attributes, " "), Service: r.service,
	}
	if !r.ad {
		return cur, nil
	}
	usn, err := strconv.ParseInt(r.usn, 10, 64)
	if err != nil || r.service == "" {
		return nil, fmt.Errorf("the domain controller does not say how far its changes are (highestCommittedUSN %q, dsServiceName %q)", r.usn, r.service)
	}
	cur.USN, cur.Read = usn, p.s.cfg.Now().Unix()
	attempt, cancel := context.WithTimeout(ctx, p.s.cfg.Timeout)
	defer cancel()
	e, err := p.c.read(attempt, r.service, "invocationId")
	if err := notResult(err); err != nil {
		return nil, err
	}
	if e != nil { // not everybody may read it, and then only the controller's name counts
		cur.Invocation = fmt.Sprintf("%x", e.GetEqualFoldRawAttributeValue("invocationId"))
	}
	return cur, nil
}

// advance notes what the pull has seen. A stamp in the future, of a server whose clock is
// wrong, must not hide what happens until then.
func (c *cursor) advance(p *pull) *cursor {
	if p.c.root.ad {
		return c
	}
	last := p.last
	if now := p.s.cfg.Now(); last.After(now) {
		last = now
	}
	if !last.IsZero() {
		c.Time = last.UTC().Add(-margin).Format("20060102150405Z")
	}
	return c
}

func (c *cursor) encode() []byte {
	b, _ := json.Marshal(c) // strings and a number: it cannot fail
	return b
}

func startOver(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{directory.ErrStartOver}, args...)...)
}

// Changes hands over what has changed since the pull that gave the cursor.
func (s *Source) Changes(ctx context.Context, from []byte, into directory.Copy) (directory.Pulled, error) {
	var old cursor
	if err := json.Unmarshal(from, &old); err != nil {
		return directory.Pulled{}, startOver("the cursor is not one of an LDAP source")
	}
	var done directory.Pulled
	err := s.pull(ctx, old.Server, into, func(ctx context.Context, p *pull) error {
		cur, err := p.cursor(ctx)
		if err != nil {
			return err
		}
		if err := old.continues(cur); err != nil {
			return err
		}
		if p.c.root.ad {
			done.Listed, err = p.numbered(ctx, &old)
		} else {
			done.Listed, err = true, p.stamped(ctx, &old)
		}
		if err != nil {
			return err
		}
		if cur.advance(p); cur.Time < old.Time {
			cur.Time = old.Time // nothing was stamped since
		}
		done.Cursor = cur.encode()
		return nil
	})
	if err != nil {
		return directory.Pulled{}, err
	}
	return done, nil
}

// continues says why what changed cannot be told from one cursor to the other, if so.
func (c *cursor) continues(now *cursor) error {
	switch {
	case c.Base != now.Base || c.Filter != now.Filter || c.Attributes != now.Attributes:
		return startOver("base, filter or attributes are other ones now")
	case c.Service != now.Service || c.Invocation != now.Invocation || c.Server != now.Server:
		return startOver("the last pull was from %s, this one is from %s, and each counts changes by itself", c.Server, now.Server)
	case now.Service != "" && now.USN < c.USN:
		return startOver("the domain controller has gone back to change %d from %d", now.USN, c.USN)
	case now.Service != "" && time.Duration(now.Read-c.Read)*time.Second > keepsDeleted:
		return startOver("the last pull was on %s, and the directory may have forgotten who was deleted since", time.Unix(c.Read, 0).UTC().Format(time.DateOnly))
	case now.Service == "" && c.Time == "":
		return startOver("the server stamps no entry with the time of its change")
	}
	return nil
}

// stamped tells the changes of a server that stamps entries: those of late are read again,
// and everybody is named.
func (p *pull) stamped(ctx context.Context, old *cursor) error {
	filter := p.filter()
	if err := p.takeAll(ctx, "(&"+filter+"("+modifyTimestamp+">="+ldap.EscapeFilter(old.Time)+"))"); err != nil {
		return err
	}
	return p.list(ctx, filter)
}

// list names everybody for whom the filter holds, and reads who is not known yet. Who has nothing
// in the attributes is left out: he would be read again each time.
func (p *pull) list(ctx context.Context, filter string) error {
	filter = "(&" + filter + "(|(" + strings.Join(p.s.cfg.Attributes, "=*)(") + "=*)))"
	named := 0
	var strangers []string
	err := p.pages(ctx, p.s.cfg.Base, filter, []string{p.idAttribute()}, nil, func(e *ldap.Entry) error {
		named++
		id := p.id(e)
		if p.into.Has(id) {
			return copied(p.into.Still(id))
		}
		strangers = append(strangers, p.itself(e))
		return nil
	})
	if err != nil {
		return err
	}
	if named == 0 {
		return &nobodyError{base: p.s.cfg.Base, filter: filter}
	}
	for len(strangers) > 0 {
		n := min(len(strangers), 100)
		if err := p.takeAll(ctx, "(&"+filter+"(|"+strings.Join(strangers[:n], "")+"))"); err != nil {
			return err
		}
		strangers = strangers[n:]
	}
	return nil
}

// itself is a filter for this one entry.
func (p *pull) itself(e *ldap.Entry) string {
	if b := e.GetEqualFoldRawAttributeValue(p.idAttribute()); len(b) > 0 {
		return "(" + p.idAttribute() + "=" + octets(b) + ")"
	}
	return "(entryDN=" + ldap.EscapeFilter(e.DN) + ")"
}

// octets writes each octet as RFC 4515, 3 escapes it: an id need not be text.
func octets(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\%02x`, c)
	}
	return s.String()
}

// numbered tells the changes of Active Directory. It says whether it has named everybody.
func (p *pull) numbered(ctx context.Context, old *cursor) (listed bool, err error) {
	since := fmt.Sprintf("(uSNChanged>=%d)", old.USN+1)
	naming := p.context()
	// Who has changed in any way, wherever: who was deleted, moved elsewhere or is
	// meant no more by the filter is not found by it.
	changed, folders := map[string]bool{}, false
	show := []ldap.Control{ldap.NewControlMicrosoftShowDeleted()}
	err = p.pages(ctx, naming, since, []string{objectGUID, "objectClass"}, show, func(e *ldap.Entry) error {
		if id := p.id(e); p.into.Has(id) {
			changed[id] = true
		}
		folders = folders || isFolder(e)
		return nil
	})
	if err != nil {
		return false, err
	}
	filter := p.filter()
	err = p.each(ctx, "(&"+filter+since+")", func(id string, addresses []string) error {
		delete(changed, id)
		return copied(p.into.Take(id, addresses...))
	})
	if err != nil {
		return false, err
	}
	for id := range changed {
		if err := copied(p.into.Take(id)); err != nil {
			return false, err
		}
	}
	// What a filter says of others (a group's members) changes without a number of the one who
	// is meant, and so does where somebody is when the folder around him moves. Not everybody may see who
	// was deleted.
	if !p.s.filter.own && !folders && p.seesDeleted(ctx, naming) {
		return false, nil
	}
	return true, p.list(ctx, filter)
}

// isFolder says whether others may be below an entry of Active Directory.
func isFolder(e *ldap.Entry) bool {
	return slices.ContainsFunc(e.GetEqualFoldAttributeValues("objectClass"), func(c string) bool {
		return strings.EqualFold(c, "organizationalUnit") || strings.EqualFold(c, "container")
	})
}

// context is the naming context that the base is in: who is moved out of the base or deleted is still
// in there.
func (p *pull) context() string {
	best := ""
	base := strings.ToLower(p.s.cfg.Base)
	for _, c := range p.c.root.contexts {
		if l := strings.ToLower(c); (base == l || strings.HasSuffix(base, ","+l)) && len(c) > len(best) {
			best = c
		}
	}
	if best == "" {
		return p.s.cfg.Base
	}
	return best
}

// seesDeleted says whether we may see who was deleted. Administrators may, others only where
// somebody has seen to it. Everybody may find the container, so what counts is whether there is
// somebody in it; where nobody ever was deleted this cannot be told, and "no" is safe.
func (p *pull) seesDeleted(ctx context.Context, naming string) bool {
	if naming == "" {
		return false // a global catalogue has several such places
	}
	attempt, cancel := context.WithTimeout(ctx, p.s.cfg.Timeout)
	defer cancel()
	res, err := p.c.search(attempt, questionOctets, ldap.NewSearchRequest("CN=Deleted Objects,"+naming, ldap.ScopeSingleLevel,
		ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"1.1"},
		[]ldap.Control{ldap.NewControlMicrosoftShowDeleted(), ldap.NewControlPaging(1)}))
	return err == nil && len(res.Entries) > 0
}
