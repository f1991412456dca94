package daemon

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/smtp"
	"backstop/internal/verdict"
)

// lookupAnswer is what GET /api/v1/lookup says: who says that the recipient exists, and what the gateway would say to
// RCPT. The decision is left out where only the look-up was asked for (no-ask, at).
type lookupAnswer struct {
	LookupResult
	Verdict string `json:"verdict,omitempty"`
	Rule    string `json:"rule,omitempty"`
	Reply   string `json:"reply,omitempty"`
	Watched string `json:"watched,omitempty"` // watch mode: the rule that would have objected
}

// lookupQuery is one question: whether mail from this client and sender may go to this address.
type lookupQuery struct {
	address mail.Address
	client  netip.Addr // the zero Addr: not told
	helo    string     // "": not told
	from    *mail.ReversePath
	only    bool // no decision is wanted
	o       LookupOptions
}

// serveLookup answers an MTA or a panel. With Accept: text/plain the answer is one line, the SMTP reply.
func (d *Daemon) serveLookup(w http.ResponseWriter, r *http.Request) {
	if !d.mayLookUp(r.RemoteAddr) {
		writeJSON(w, http.StatusForbidden, failure{"this address may not ask who exists", "add it to lookup_clients in [panel]"})
		return
	}
	q, err := parseLookup(r.URL.Query())
	plain := strings.Contains(r.Header.Get("Accept"), "text/plain")
	var wrong *malformed
	if plain && errors.As(err, &wrong) {
		writeLine(w, d.malformedReply(wrong))
		return
	}
	if err != nil {
		f := failure{Error: err.Error()}
		if h, ok := err.(interface{ Hint() string }); ok {
			f.Hint = h.Hint()
		}
		writeJSON(w, http.StatusBadRequest, f)
		return
	}
	var a lookupAnswer
	if !q.only {
		v := d.decideLookup(r, &q)
		a.Verdict, a.Rule, a.Reply = v.Effect.String(), v.Rule.String(), v.Reply.String()
		if r, ok := v.Watched(); ok {
			a.Watched = r.String()
		}
		if plain {
			writeLine(w, v.Reply)
			return
		}
	}
	if a.LookupResult, err = d.Lookup(r.Context(), q.address, q.o); err != nil {
		writeJSON(w, http.StatusBadRequest, failure{err.Error(), "write user@domain"})
		return
	}
	writeJSON(w, http.StatusOK, a)
}

// writeLine writes a reply on one line.
func writeLine(w http.ResponseWriter, r mail.Reply) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "%s\n", r) // the client may be gone; there is nobody to tell
}

// malformed is a question about what is no address, with what the gateway says to such.
type malformed struct {
	what, text string
	domain     string // of the recipient, as far as it has one
	reply      mail.Reply
}

func (m *malformed) Error() string { return fmt.Sprintf("%s: %q is no address", m.what, m.text) }

func (m *malformed) Hint() string { return "write " + m.what + "=user@domain" }

// malformedReply is that reply where the recipient's domain is ours. An MTA takes more for an address than we do, and
// what it means in domains of its own is its own business.
func (d *Daemon) malformedReply(m *malformed) mail.Reply {
	name, err := mail.FoldDomain(m.domain)
	if s := d.current.Load(); err == nil {
		if r := s.cfg.Routes.Find(name); r != nil && r.ModeOr(s.cfg.Mode) == evidence.Enforce {
			return m.reply
		}
	}
	return mail.MustReply(250, "2.1.5", "Ok")
}

// mayLookUp says whether somebody may ask; who comes by a unix socket has no address.
func (d *Daemon) mayLookUp(remote string) bool {
	ap, err := netip.ParseAddrPort(remote)
	return err != nil || allowed(d.current.Load().cfg.Panel.LookupClients)(ap.Addr())
}

// decideLookup plays the part of a session that is known, up to RCPT.
func (d *Daemon) decideLookup(r *http.Request, q *lookupQuery) verdict.Verdict {
	s := d.Engine().Begin(r.Context(), evidence.DoorHTTP, evidence.Client{Addr: q.client, Helo: q.helo})
	defer s.Close()
	if q.client.IsValid() {
		if v := s.Connect(false, false); v.Effect != verdict.Accept {
			return v
		}
	}
	if q.helo != "" {
		if v := s.Helo(q.helo, "", false); v.Effect != verdict.Accept {
			return v
		}
	}
	if q.from != nil {
		if v := s.Mail(*q.from, smtp.MailParams{UTF8: true}); v.Effect != verdict.Accept {
			return v
		}
	}
	return s.Rcpt(q.address, smtp.RcptParams{})
}

// parseLookup reads the parameters of a question. Each text can be given in base64 under its name with 64 behind it: that
// is what Exim can write whatever is in it.
func parseLookup(form url.Values) (lookupQuery, error) {
	var q lookupQuery
	for name := range form {
		switch strings.TrimSuffix(name, "64") {
		case "address", "client", "helo", "from", "at", "no-ask":
		default:
			return q, &hinted{fmt.Errorf("unknown parameter %q", name), "known are address, client, helo, from (each in base64 as address64 and so on), at and no-ask"}
		}
	}
	texts := map[string]string{}
	for _, name := range []string{"address", "client", "helo", "from"} {
		text, err := formText(form, name)
		if err != nil {
			return q, err
		}
		texts[name] = text
	}
	var err error
	var reply mail.Reply
	domain := texts["address"][strings.LastIndexByte(texts["address"], '@')+1:]
	if q.address, reply = smtp.ParseRecipient(texts["address"]); !reply.IsZero() || q.address.Domain() == "" {
		return q, &malformed{"address", texts["address"], domain, reply}
	}
	if texts["client"] != "" {
		if q.client, err = netip.ParseAddr(texts["client"]); err != nil {
			return q, &hinted{fmt.Errorf("client: %q is no IP address", texts["client"]), "write client=192.0.2.1"}
		}
		q.client = q.client.Unmap().WithZone("")
	}
	if form.Has("from") || form.Has("from64") {
		from, reply := smtp.ParseSender(strings.Trim(texts["from"], "<>"))
		if !reply.IsZero() {
			return q, &malformed{"from", texts["from"], domain, reply}
		}
		q.from = &from
	}
	if q.from != nil && !q.client.IsValid() {
		return q, &hinted{errors.New("from: who may send as somebody depends on the client"), "write client=IP as well"}
	}
	q.helo = texts["helo"]
	q.o.NoAsk = form.Has("no-ask") && form.Get("no-ask") != "false"
	if at := form.Get("at"); at != "" {
		if q.o.At, err = time.Parse(time.RFC3339, at); err != nil {
			return q, &hinted{fmt.Errorf("at: %q is no time", at), "write at=2026-01-31T12:00:00Z (RFC 3339)"}
		}
	}
	q.only = q.o.NoAsk || !q.o.At.IsZero()
	return q, nil
}

// formText is a parameter, plain or in base64. A plus sign that was not written as %2B came as a blank.
func formText(form url.Values, name string) (string, error) {
	if !form.Has(name + "64") {
		return form.Get(name), nil
	}
	text, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(form.Get(name+"64"), " ", "+"))
	if err != nil {
		return "", fmt.Errorf("%s64: this is not base64 (RFC 4648, 4)", name)
	}
	return string(text), nil
}
