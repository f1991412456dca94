package config

import (
	"time"

	"backstop/internal/mail"
)

// keys is the top of the file and, by its rows, the whole of it.
func (c *Config) keys(d *decoder) []key {
	return []key{
		{name: "hostname", unset: "the host's own name", set: text(&c.Hostname, mail.FoldDomain),
			doc: "The gateway's name: in its banner, in EHLO towards downstreams, in Received. Set it to the name that the MX record and the reverse DNS of the address give, where the host calls itself otherwise."},
		{name: "state", def: `"/var/lib/backstop"`, set: d.stateFolder(&c.State),
			doc: "The folder for what survives a restart: the keys of tags and seals (`keys.json`, to be backed up), the record of seen mail, the counts of bounces, since when mail is tagged, the answers remembered, compiled lists and copies of sources; and the socket that `status` asks. It is made when it is not there. Change it to run two gateways on one machine; `\"\"` keeps nothing: then keys are made anew at each start, and what was sent before is not proven."},
		{name: "mode", def: `"enforce"`, set: choice(&c.Mode, "enforce", "watch"),
			doc: "`watch` decides, logs and counts, but its own rules refuse nothing: for the first days. What the downstream refuses is passed on all the same."},
		{name: "postmaster", unset: "postmaster of the first domain", set: d.marked("postmaster", text(&c.Postmaster, parseMailbox)),
			doc: "Where mail for `<postmaster>` without a domain goes (RFC 5321, 4.5.1). Its domain should be one of yours."},
		{name: "reply_text", def: `"own"`, set: choice(&c.ReplyText, "own", "downstream"),
			doc: "Whose words a sender reads when the downstream refuses. `downstream` helps senders, and shows them internal names."},
		{name: "drain", def: `"30s"`, set: duration(&c.Drain, 0, time.Hour),
			doc: "How long open transactions may go on after SIGTERM. Raise it for slow downstreams; stay below systemd's TimeoutStopSec."},
		{name: "smtp", keys: c.SMTP.keys(d), doc: "The MX front."},
		{name: "relay", keys: c.Relay.keys(), doc: "What holds for every downstream; which one a domain has stands in `[[domain]]`."},
		{name: "cache", keys: c.Cache.keys(d), doc: "What is remembered about recipients."},
		{name: "panel", keys: c.Panel.keys(d), doc: "The HTTP listener: `/metrics`, `/healthz` and `/api/v1/lookup`."},
		{name: "dns", keys: dnsKeys(&c.DNS), doc: "Name resolution, for SPF, DKIM and DMARC, and for `[blocklists]`."},
		{name: "blocklists", keys: c.Blocklists.keys(d), doc: "DNS blocklists that name senders of bounces: [what they say, and what to do then](listed.md)."},
		{name: "outbound", set: takeOutbound(&c.Outbound), parts: []variant{{"[outbound]", "", (&outboundDraft{}).keys()}},
			doc: "Mail that leaves your own servers: taken from them, tagged, sealed and signed as its domain says, and handed through to the MTA that delivers. Bounces that would go to somebody who is not proven to have written do not leave. Without this section there is no such door."},
		{name: "srs", keys: c.SRS.keys(d), doc: "Addresses that a forwarder of yours behind this gateway (postsrsd) rewrote, to which bounces come."},
		{name: "milter", keys: c.Milter.keys(d), doc: "The same decisions for Sendmail and Postfix as a milter (protocol 2 to 6). Where one of the doors beside an MTA is open and `[smtp]` names no listener, none is opened there: the MTA has port 25."},
		{name: "policy", keys: c.Policy.keys(d), doc: "The same decisions for Postfix as a policy service: about clients, senders and recipients; messages it does not see."},
		{name: "socketmap", keys: c.Socketmap.keys(d), doc: "Recipients, and senders with tags, for Postfix (and Sendmail) as socketmaps."},
		{name: "tcp_table", keys: c.TCPTable.keys(d), doc: "One of the maps of `[socketmap]` in Postfix's older protocol."},
		{name: "source", set: takeSources, parts: sourceVariants(), doc: "Recipient sources with a name. `[source.NAME]` is used by writing NAME among the `recipients` of a domain."},
		{name: "domain", set: takeDomains, parts: []variant{{"[[domain]]", "", (&domainDraft{}).keys()}}, doc: "A domain that is yours. There may be any number, each in a section of its own."},
	}
}

func (s *SMTP) keys(d *decoder) []key {
	return []key{
		{name: "listen", def: `[":25"]`, set: d.marked("smtp.listen", sockets(&s.Listen)),
			doc: "Where to listen: `HOST:PORT`, `unix:/PATH?mode=0660`, or `systemd:NAME` for a socket unit with that FileDescriptorName. An IPv4 address listens on IPv4 alone and an IPv6 address on IPv6 alone."},
		{name: "max_message_size", def: `"50MB"`, set: size(&s.MaxMessageSize, 0, 1<<40),
			doc: "The largest message in octets (1 KB is 1024), announced by SIZE. Set it to what the downstreams take; 0 is no limit."},
		{name: "max_recipients", def: "100", set: integer(&s.MaxRecipients, 1, 100000),
			doc: "Recipients of one transaction; further ones are told 452 and come in another. RFC 5321, 4.5.3.1.8 asks for 100 at least."},
		{name: "max_connections", def: "5000", set: integer(&s.MaxConnections, 1, 1000000),
			doc: "Connections open at once at one listener, of whatever door; further ones are told 421, and beside an MTA just closed, so that it tries again later. Each takes about 20 KB and a file descriptor."},
		{name: "per_client", def: "50", set: integer(&s.PerClient, 0, 1000000),
			doc: "Connections open at once from one address (IPv6: one /64); 0 is no limit. Raise it where one relay brings all the mail."},
		{name: "blocked", def: "[]", set: networks(&s.Blocked, "nobody will be able to send anything"),
			doc: "Networks that are refused outright, before anything is asked (rule `client-blocked`). An access file's `Connect:` line can refuse more of them, and let in none."},
		{name: "proxy_protocol", def: "[]", set: networks(&s.ProxyProtocol, "whoever connects can pretend any address; name your load balancers alone"),
			doc: "Load balancers that send a PROXY header, version 1 or 2. From these networks the header is required, from all others it means nothing."},
		{name: "xclient", def: "[]", set: networks(&s.XClient, "whoever connects can pretend any address; name your own relays alone"),
			doc: "Relays of yours that may hand on the true client by XCLIENT."},
		{name: "allow_bare_newline", def: "[]", set: networks(&s.AllowBareNewline, "this opens the door to SMTP smuggling; name the old equipment alone"),
			doc: "Networks of old equipment that ends lines with a bare LF or CR. Theirs are made CRLF; from all others they are refused, because of SMTP smuggling."},
		{name: "tls", unset: "no STARTTLS", set: takeTLS(&s.TLS), parts: []variant{{"tls = { … }", "The certificate for STARTTLS, written as an inline table: `tls = { certificate = \"…\", key = \"…\" }`.", (&tlsDraft{}).keys()}},
			doc: "The certificate for STARTTLS; see below."},
		{name: "banner_delay", def: `"0s"`, set: duration(&s.BannerDelay, 0, 5*time.Minute),
			doc: "How long the banner is held back to catch clients that talk before it; at 0 they are noted in the log, otherwise refused (rule `early-talker`). 5s catches many; every honest client waits too."},
		{name: "max_errors", def: "10", set: integer(&s.MaxErrors, 1, 1000000),
			doc: "Protocol errors and refusals by syntax that one connection may make before it is closed with 421."},
		{name: "max_commands", def: "1000", set: integer(&s.MaxCommands, 10, 100000000),
			doc: "Commands of one connection. Raise it for a relay that brings thousands of recipients in one session."},
		{name: "max_line_length", def: "2048", set: integer(&s.MaxLineLength, 512, 1<<20),
			doc: "Octets of a command line, its end included. RFC 5321, 4.5.3.1.4 asks for 512 and what the extensions add."},
		{name: "max_text_line", def: "0", set: integer(&s.MaxTextLine, 0, 1<<30),
			doc: "Octets of a line of the message; 0 is no limit. RFC 5321 allows 1000, real mail has longer ones: set it where a downstream breaks on them."},
		{name: "max_received", def: "50", set: integer(&s.MaxReceived, 10, 1000),
			doc: "Received headers from which on a message is taken for one that loops (rule `message-loop`). RFC 5321, 6.3 asks for 100 at least to be safe; 50 finds a loop sooner."},
		{name: "timeouts", keys: s.Timeouts.keys(), doc: "How long a client may take, as `[smtp.timeouts]` or inline: `timeouts = { command = \"1m\" }`. RFC 5321, 4.5.3.2 has minutes; shorten them against slow senders."},
	}
}

func (t *SMTPTimeouts) keys() []key {
	return []key{
		{name: "command", def: `"5m"`, set: duration(&t.Command, time.Second, day), doc: "Until the next command."},
		{name: "data", def: `"3m"`, set: duration(&t.Data, time.Second, day), doc: "Between two reads of the message."},
		{name: "message", def: `"30m"`, set: duration(&t.Message, time.Second, day), doc: "For one whole message."},
		{name: "session", def: `"2h"`, set: duration(&t.Session, time.Second, 7*day), doc: "For the whole connection."},
		{name: "min_rate", def: `"100B"`, set: size(&t.MinRate, 0, 1<<40), doc: "Octets a second that a message must bring after its first minute; 0 switches this off."},
	}
}

func (r *Relay) keys() []key {
	return []key{
		{name: "connections", def: "50", set: integer(&r.Connections, 1, 100000),
			doc: "Connections open at once to one downstream. Stay below what it allows from one address; who finds none free is told 451."},
		{name: "idle", def: "5", set: integer(&r.Idle, 0, 100000),
			doc: "Connections to one downstream that are kept open without work, so that the next message finds one."},
		{name: "idle_time", def: `"60s"`, set: duration(&r.IdleTime, 0, time.Hour),
			doc: "How long they are kept. Stay below the downstream's own limit (Postfix: 300s)."},
		{name: "ca_file", unset: "the system's certificates", set: takeRoots(r),
			doc: "PEM file of the authorities that certify downstreams, for relays with `?tls=require` whose certificates you sign yourself. It replaces the system's."},
		{name: "timeouts", keys: r.Timeouts.keys(), doc: "How long a downstream may take, as `[relay.timeouts]` or inline. The sender waits meanwhile, so these stay below what RFC 5321, 4.5.3.2 has it wait: in time for our own 451."},
	}
}

func (t *RelayTimeouts) keys() []key {
	row := func(name, def string, dst *time.Duration, doc string) key {
		return key{name: name, def: def, set: duration(dst, 100*time.Millisecond, time.Hour), doc: doc}
	}
	return []key{
		row("connect", `"30s"`, &t.Connect, "Until the connection stands."),
		row("banner", `"1m"`, &t.Banner, "Until its banner. The sender's own limit for RCPT, 5 minutes, covers all steps up to it."),
		row("hello", `"1m"`, &t.Hello, "For EHLO, STARTTLS, AUTH and XCLIENT, each."),
		row("mail", `"1m"`, &t.Mail, "For MAIL."),
		row("rcpt", `"1m"`, &t.Rcpt, "For RCPT. Exchange holds back a refusal for 5 seconds, content filters may take longer."),
		row("data", `"1m"`, &t.Data, "For DATA, until 354."),
		row("block", `"3m"`, &t.Block, "For one write of the message."),
		row("final", `"9m"`, &t.Final, "From the dot to the final answer; senders wait 10 minutes. When it runs out the sender is told 451 and a duplicate is possible, so rather raise than lower it."),
	}
}

func (l *Lives) keys(d *decoder, where string) []key {
	row := func(name string, dst *time.Duration, low time.Duration, doc string) key {
		return key{name: name, set: d.marked(where+name, duration(dst, low, anyTime)), doc: doc}
	}
	return []key{
		row("exists_for", &l.ExistsFor, time.Second, "How long \"exists\" is believed. A deleted mailbox is refused at the first definite answer all the same, so a long life costs little."),
		row("missing_for", &l.MissingFor, time.Second, "How long the first \"missing\" is believed; it doubles while the recipient keeps being missing. Short, so that a mailbox made after the first test works at once."),
		row("max_stale", &l.MaxStale, time.Second, "How long \"exists\" is used, counted from when it was given, while its source cannot be asked."),
	}
}

func (c *Cache) keys(d *decoder) []key {
	keys := c.Lives.keys(d, "cache.")
	for i, def := range []string{`"24h"`, `"2m"`, `"7d"`} {
		keys[i].def = def
	}
	return append(keys,
		key{name: "missing_max", def: `"2h"`, set: d.marked("cache.missing_max", duration(&c.MissingMax, time.Second, anyTime)),
			doc: "What the life of \"missing\" grows to."},
		key{name: "refresh", unset: "a quarter of `exists_for`", set: d.marked("cache.refresh", duration(&c.Refresh, 0, anyTime)),
			doc: "When so much is left of `exists_for`, use of the answer asks again in the background, so that nobody waits."},
		key{name: "size", def: "1000000", set: integer(&c.Size, 1000, 1000000000),
			doc: "Answers remembered at most, about 200 octets each."},
	)
}

func (p *Panel) keys(d *decoder) []key {
	return []key{
		{name: "listen", def: `""`, set: d.marked("panel.listen", door(&p.Listen, "127.0.0.1:8025")),
			doc: "Where to listen, as in `[smtp]`. `\"127.0.0.1:8025\"` is usual; there is no password yet, so keep it from strangers. `\"\"` is off."},
		{name: "lookup_clients", def: loopbackOnly, set: networks(&p.LookupClients, "everybody can ask who exists"),
			doc: "Networks that may ask `/api/v1/lookup` who exists: your MTA, your panel. Who comes by a unix socket may."},
	}
}
