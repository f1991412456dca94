package daemon

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/smtp"
	"backstop/internal/verdict"
)

const lookupPath = "/api/v1/lookup"

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

// serveLookup answers an MTA or a panel. With Accept: text/plain the answer is one line: the SMTP reply, or where only the
// look-up is wanted its word (exists, missing, unavailable).
func (d *Daemon) serveLookup(w http.ResponseWriter, r *http.Request) {
	if !d.mayLookUp(r.RemoteAddr) {
		writeJSON(w, http.StatusForbidden, failure{"this address may not ask who exists", "add it to lookup_clients in [panel]"})
		return
	}
	q, err := parseLookup(r.URL.Query())
	plain := wantsPlain(r.Header)
	var wrong *malformed
	if plain && errors.As(err, &wrong) {
		writeLine(w, d.malformedReply(wrong).String())
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
			writeLine(w, a.Reply)
			return
		}
	}
	if a.LookupResult, err = d.Lookup(r.Context(), q.address, q.o); err != nil {
		writeJSON(w, http.StatusBadRequest, failure{err.Error(), "write user@domain"})
		return
	}
	if plain {
		writeLine(w, a.Standing)
		return
	}
	writeJSON(w, http.StatusOK, a)
}

// wantsPlain says that a program asks for text/plain by name, and not that it does not want it (RFC 9110, 12.5.1). What it
// would rather have is not weighed: who asks for JSON too has no need to name the other.
func wantsPlain(h http.Header) bool {
	for _, part := range strings.Split(strings.Join(h.Values("Accept"), ","), ",") {
		kind, params, err := mime.ParseMediaType(part)
		if err != nil || kind != "text/plain" {
			continue
		}
		if q, err := strconv.ParseFloat(cmp.Or(params["q"], "1"), 64); err == nil && q > 0 {
			return true
		}
	}
	return false
}

// serveNoAPI answers what the API does not have, as the API answers.
func serveNoAPI(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == lookupPath {
		w.Header().Set("Allow", "GET, HEAD")
		writeJSON(w, http.StatusMethodNotAllowed, failure{"the method " + r.Method + " is not for this", "ask by GET"})
		return
	}
	writeJSON(w, http.StatusNotFound, failure{"there is nothing here", "there is GET " + lookupPath})
}

// writeLine writes an answer on one line.
func writeLine(w http.ResponseWriter, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "%s\n", line) // the client may be gone; there is nobody to tell
}

// malformed is a question about what is no address, with what the gateway says to such.
type malformed struct {
	what, text string
	recipient  string
	reply      mail.Reply // zero where he has no domain
}

func (m *malformed) Error() string { return fmt.Sprintf("%s: %q is no address", m.what, m.text) }

func (m *malformed) Hint() string { return "write " + m.what + "=user@domain" }

// malformedReply is that reply where such are refused to the recipient.
func (d *Daemon) malformedReply(m *malformed) mail.Reply {
	if !m.reply.IsZero() && d.Engine().Strict(m.recipient) {
		return m.reply
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
	if q.address, reply = smtp.ParseRecipient(texts["address"]); !reply.IsZero() || q.address.Domain() == "" {
		return q, &malformed{"address", texts["address"], texts["address"], reply}
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
			return q, &malformed{"from", texts["from"], texts["address"], reply}
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
		return "", &hinted{fmt.Errorf("%s64: this is not base64 (RFC 4648, 4)", name), "write " + name + "64=YWxpY2VAZXhhbXBsZS5jb20=, or the plain text as " + name}
	}
	return string(text), nil
}
