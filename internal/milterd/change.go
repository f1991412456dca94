package milterd

import (
	"backstop/internal/mail"
	"backstop/internal/milter"
	"backstop/internal/session"
)

// change is the response to a message that goes on. What the MTA does not let us do is left out; a message that would
// reach people whom it must not reach is none of these.
func (h *handler) change(c *session.Changes) milter.Response {
	var out milter.Changes
	if c.Tagged && h.can(milter.ChangeFrom) {
		out.From = &milter.Sender{Address: c.From.String()}
	}
	if len(h.unheard) > 0 && h.can(milter.DeleteRcpt) {
		out.DeleteRcpt = append(out.DeleteRcpt, h.unheard...)
	}
	if len(c.Delete)+len(c.Add) > 0 && h.can(milter.DeleteRcpt) && h.can(milter.AddRcpt) {
		for _, a := range c.Delete {
			out.DeleteRcpt = append(out.DeleteRcpt, h.given(a))
		}
		for _, a := range c.Add {
			out.AddRcpt = append(out.AddRcpt, milter.Rcpt{Address: a.String()})
		}
	}
	if len(c.Edits) > 0 && h.can(milter.ChangeHeader) {
		for _, e := range c.Edits {
			out.Edit = append(out.Edit, milter.HeaderEdit{Name: e.Name, Nth: e.Nth, Delete: true})
		}
	}
	if len(c.Fields) > 0 && h.can(milter.AddHeader) {
		for _, f := range c.Fields {
			out.Insert = append(out.Insert, milter.Header{Name: f.Name, Value: f.Value})
		}
	}
	return milter.Response{Changes: &out}
}

// given is a recipient as the MTA wrote it, by which alone it finds him.
func (h *handler) given(a mail.Address) string {
	for i := range h.rcpts {
		if h.rcpts[i].addr == a {
			return h.rcpts[i].text
		}
	}
	return a.String()
}

// names are the actions as operators know them.
var names = map[milter.ActionMask]string{
	milter.ChangeFrom: "change the sender", milter.DeleteRcpt: "delete a recipient", milter.AddRcpt: "add a recipient",
	milter.ChangeHeader: "change the header", milter.AddHeader: "add to the header",
}

// can says whether the MTA lets its milters do something that is wanted now. The operator hears where it does not.
func (h *handler) can(a milter.ActionMask) bool {
	if h.conn.Can(a) {
		return true
	}
	if h.d.quiet.Due(names[a], h.cfg.Engine.Now()) {
		h.cfg.Logger.Warn("the mail server does not let its milters do what a message needs", "door", "milter", "action", names[a],
			"queue_id", h.conn.Macro("i"), "version", h.conn.Version())
	}
	return false
}
