package milterd

import (
	"net/netip"
	"runtime/debug"
	"strings"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/milter"
	"backstop/internal/session"
	"backstop/internal/smtp"
	"backstop/internal/verdict"
)

// handler is one client of the MTA: the wire's events on one side, a session on the other.
type handler struct {
	d    *Door
	conn *milter.Conn
	cfg  *settings        // that s was made from
	s    *session.Session // nil: there was a fault of ours, and the next MAIL begins anew

	client   milter.Client
	helo     helo
	internal bool       // the client is one of us
	refusal  mail.Reply // of the connection, said at MAIL

	malformed mail.Reply // why its sender is no address; zero: he is one
	leaves    bool       // the open transaction does
	ours      bool       // or it has a recipient in a domain of ours
	rcpts     []rcpt     // of the open transaction, accepted

	// quiet is for a bounce that the MTA itself wrote, or a program on its host: refused, Postfix would try to make it again
	// and again, and keep the mail that it answers. There is nobody to hear a refusal, so what is refused is thrown away.
	quiet   bool
	unheard []string // recipients of such a one who were refused
}

// helo is what the client said; the zero value is nothing yet. An MTA does not say which of the two greetings it was.
type helo struct {
	name string
	said bool
}

// rcpt is one recipient, as we read it and as the MTA has it: only that finds him again there.
type rcpt struct {
	addr mail.Address
	text string
}

// maxRcpts is more recipients than any MTA takes, so that a fault of one does not fill the memory here.
const maxRcpts = 20_000

var replyTooMany = mail.MustReply(452, "4.5.3", "Too many recipients, send the rest in another transaction")

func (d *Door) handler(c *milter.Conn) milter.Handler {
	return &handler{d: d, conn: c, cfg: d.cfg.Load()}
}

// Connect begins the session. Whatever there is to say against the client, MAIL says it; a fault of ours too.
func (h *handler) Connect(c milter.Client) milter.Response {
	defer h.guard(new(milter.Response))
	h.client = c
	h.open(h.cfg)
	return milter.Response{}
}

// open begins the session by a configuration, with what was said before MAIL.
func (h *handler) open(cfg *settings) {
	h.close()
	h.cfg = cfg
	addr := h.client.Addr.Unmap().WithZone("")
	switch h.client.Family {
	case '4', '6':
		h.internal = h.itself() || cfg.Internal != nil && cfg.Internal(addr)
	default: // the MTA's own host: a unix socket, or what Sendmail and Postfix say of their standard input
		h.internal = h.client.Family == 'L' || h.client.Name == "localhost"
		addr = netip.Addr{}
	}
	h.s = cfg.Engine.Begin(h.d.ctx, evidence.DoorMilter, evidence.Client{Addr: addr, Port: h.client.Port, Name: verified(h.client)})
	h.refusal = h.no(h.s.Connect(false, false))
	if h.helo.said && h.refusal.IsZero() {
		h.greet()
	}
}

// itself says that the MTA hands over mail of its own host, as Postfix does for non_smtpd_milters: a client has a port.
func (h *handler) itself() bool { return h.client.Port == 0 && h.client.Addr.IsLoopback() }

// verified is the client's name as the MTA found and confirmed it in the DNS; "" where it has another word for none.
func verified(c milter.Client) string {
	if c.Family != '4' && c.Family != '6' || c.Name == "unknown" || strings.HasPrefix(c.Name, "[") {
		return ""
	}
	if _, err := netip.ParseAddr(c.Name); err == nil {
		return ""
	}
	return c.Name
}

// Helo may come again, after STARTTLS or for no reason.
func (h *handler) Helo(name string) milter.Response {
	defer h.guard(new(milter.Response))
	h.helo = helo{name, true}
	if h.s != nil && h.refusal.IsZero() {
		h.greet()
	}
	return milter.Response{}
}

func (h *handler) greet() { h.refusal = h.no(h.s.Helo(h.helo.name, "", false)) }

// resolved is what the MTA makes of an address that is in no domain of ours, if it makes one of ours of it: of
// user%ours, ours!user, "user@ours", or a plain name to which it adds its own domain.
func (h *handler) resolved(macro string, given mail.Address) (mail.Address, bool) {
	if h.known(given) {
		return given, false
	}
	a, wrong := smtp.ParseRecipient(strings.Trim(h.conn.Macro(macro), "<>"))
	return a, wrong.IsZero() && a.Domain() != "" && h.known(a)
}

// Mail begins a transaction, and a session too where the configuration is a new one.
func (h *handler) Mail(from string, args []string) (r milter.Response) {
	defer h.guard(&r)
	h.forget()
	if cfg := h.d.cfg.Load(); h.s == nil || cfg != h.cfg {
		h.open(cfg)
	}
	login := h.login()
	switch {
	case h.refusal.IsZero():
	case login == "":
		return refusal(h.refusal)
	case h.helo.said: // who logs in may come from anywhere; the name was not told yet
		h.s.Helo(h.helo.name, "", false)
	}
	path, wrong := smtp.ParseSender(from)
	if path, ok := h.resolved("{mail_addr}", path.Address); ok {
		return h.begin(mail.ReversePath{Address: path}, login, args)
	}
	if h.malformed = wrong; !wrong.IsZero() {
		return milter.Response{} // said to recipients of ours: what the MTA takes for its own domains is its business
	}
	return h.begin(path, login, args)
}

// begin opens the transaction.
func (h *handler) begin(path mail.ReversePath, login string, args []string) milter.Response {
	h.leaves = login != "" || h.internal
	h.quiet = path.IsNull() && h.itself()
	h.s.Login(login)
	h.s.Outward(h.leaves)
	return h.answer(h.s.Mail(path, smtp.ParseMailArgs(args)))
}

// login is who authenticated at the MTA, "" for nobody. {auth_author} says nothing: it is the client's own word.
func (h *handler) login() string {
	kind := h.conn.Macro("{auth_type}")
	switch name := h.conn.Macro("{auth_authen}"); {
	case strings.EqualFold(kind, "ANONYMOUS"): // RFC 4505: whoever likes
		return ""
	case name != "":
		return name
	}
	return kind
}

// Rcpt decides one recipient. Those that the MTA refused itself it does not tell.
func (h *handler) Rcpt(to string, args []string) (r milter.Response) {
	defer h.guard(&r)
	if h.s == nil {
		return refusal(h.fault())
	}
	addr, wrong := smtp.ParseRecipient(to)
	if a, ok := h.resolved("{rcpt_addr}", addr); ok {
		addr, wrong = a, mail.Reply{}
	}
	if wrong.IsZero() {
		wrong = h.malformed
	}
	switch {
	case len(h.rcpts)+len(h.unheard) >= maxRcpts:
		return refusal(replyTooMany)
	case !wrong.IsZero() && h.cfg.Engine.Strict(to):
		return refusal(wrong)
	case !wrong.IsZero():
		return milter.Response{}
	}
	v := h.s.Rcpt(addr, smtp.ParseRcptArgs(args))
	switch {
	case v.Effect == verdict.Accept:
		h.rcpts = append(h.rcpts, rcpt{addr, to})
		h.ours = h.ours || h.known(addr)
	case v.Effect == verdict.Refuse && h.quiet:
		h.unheard = append(h.unheard, to)
		return milter.Response{}
	}
	return h.answer(v)
}

// known says that the recipient's domain is one of ours.
func (h *handler) known(a mail.Address) bool {
	e := h.cfg.Engine
	if a.Domain() == "" {
		return a.IsPostmaster() && !e.Postmaster.IsZero()
	}
	return e.Table != nil && e.Table.Find(a.Domain()) != nil
}

// Data lets the MTA keep a message to itself of which nothing is ours: what sender and recipients have
// against them was said.
func (h *handler) Data() (r milter.Response) {
	defer h.guard(&r)
	switch {
	case h.s == nil:
		return refusal(h.fault())
	case !h.leaves && !h.ours && len(h.unheard) == 0:
		return milter.Response{Action: milter.Accept}
	}
	return milter.Response{}
}

// Message judges the message, and says what is changed in it.
func (h *handler) Message(m *milter.Message) (r milter.Response) {
	defer h.guard(&r)
	if h.s == nil {
		return refusal(h.fault())
	}
	if len(h.unheard) > 0 && len(h.rcpts) == 0 {
		return h.discard()
	}
	fixed := !h.conn.Can(milter.AddRcpt) || !h.conn.Can(milter.DeleteRcpt)
	if fixed {
		h.s.KeepRecipients()
	}
	v, changes := h.s.Judge(m)
	if fixed && v.Rule == verdict.BounceUnproven && v.Effect == verdict.Defer {
		_ = h.can(milter.DeleteRcpt) && h.can(milter.AddRcpt) // says what is lacking
	}
	if r = h.answer(v); r.Action == milter.Continue {
		return h.change(&changes)
	}
	if v.Effect == verdict.Refuse && h.quiet {
		return h.discard()
	}
	return r
}

// discard throws away what nobody could be told the refusal of. Why it was refused is in the log already.
func (h *handler) discard() milter.Response {
	h.cfg.Logger.Info("a bounce that the mail server wrote itself was refused, and is thrown away", "door", "milter", "queue_id", h.conn.Macro("i"))
	return milter.Response{Action: milter.Discard}
}

// Unknown leaves it to the MTA.
func (h *handler) Unknown(string) milter.Response { return milter.Response{} }

// Abort ends the transaction.
func (h *handler) Abort() {
	if h.s != nil {
		h.s.Reset()
	}
	h.forget()
}

// forget is for what the door itself keeps of a transaction.
func (h *handler) forget() {
	clear(h.rcpts)
	h.rcpts, h.leaves, h.ours = h.rcpts[:0], false, false
	h.quiet, h.unheard, h.malformed = false, nil, mail.Reply{}
}

// Close ends the session.
func (h *handler) Close() { h.close() }

func (h *handler) close() {
	if h.s != nil {
		h.s.Close()
		h.s = nil // it may be somebody else's by now
	}
}

// no is the reply of a verdict that refuses or defers, and none of one that does not.
func (h *handler) no(v verdict.Verdict) mail.Reply {
	switch c := v.Reply.Class(); {
	case v.Effect == verdict.Accept, v.Effect == verdict.Redirect:
		return mail.Reply{}
	case (v.Effect == verdict.Refuse || v.Effect == verdict.Defer) && (c == 4 || c == 5):
		return v.Reply
	}
	return h.fault() // no verdict: nothing is taken on the word of one that says nothing
}

func (h *handler) answer(v verdict.Verdict) milter.Response { return refusal(h.no(v)) }

// refusal is the response with a reply, which may be none.
func refusal(r mail.Reply) milter.Response {
	if r.IsZero() {
		return milter.Response{}
	}
	return milter.Response{Action: milter.Reply, Reply: r}
}

// guard answers for a panic. The MTA's connection goes on: it may serve many clients.
func (h *handler) guard(r *milter.Response) {
	v := recover()
	if v == nil {
		return
	}
	if h.cfg.Panic != nil {
		h.cfg.Panic(v, debug.Stack())
	}
	*r = refusal(h.fault())
}

// fault gives the session up after a fault of ours, and says so. Until the next MAIL all is put off.
func (h *handler) fault() (r mail.Reply) {
	r = verdict.Internal().Reply.WithID(mail.NewID())
	s := h.s
	h.s = nil
	if s == nil {
		return r
	}
	defer func() { _ = recover() }() // what is broken may break again
	r = s.Internal().Reply
	s.Close()
	return r
}
