package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"backstop/internal/config"
	"backstop/internal/directory"
	"backstop/internal/directory/access"
	"backstop/internal/directory/list"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/relay"
	"backstop/internal/smtp"
)

// What must not leave was answered 250 when it goes to the mailbox of bounce_to. It has no sender: where that mailbox does
// not exist the server that has it then drops it, and nobody hears. So the mailbox is looked for wherever somebody looks.

const (
	mailboxLost = "what is kept there would be refused as well, and lost"
	mailboxHint = "name a mailbox that exists in bounce_to"
)

// mailboxes are the addresses of bounce_to, each once. Where no mail leaves nothing goes there.
func mailboxes(cfg *config.Config) []mail.Address {
	var all []mail.Address
	for i := range cfg.Domains {
		to := cfg.Domains[i].BounceTo
		if cfg.Sends() && !to.IsZero() && !slices.ContainsFunc(all, func(a mail.Address) bool { return a.Key() == to.Key() }) {
			all = append(all, to)
		}
	}
	return all
}

// lookUpMailbox asks the sources of a mailbox's own domain. False: it is not ours, or nobody refuses it.
func (d *Daemon) lookUpMailbox(ctx context.Context, s *setup, to mail.Address, noAsk bool) (evidence.Directory, bool) {
	r := s.cfg.Routes.Find(to.Domain())
	if r == nil || to.IsPostmaster() || to.IsAbuse() { // those two are taken whoever says no
		return evidence.Directory{}, false
	}
	return d.directory.Lookup(ctx, s.domains[r].Chain, directory.Query{Address: r.Canonical(to), Subaddress: r.Subaddress, NoAsk: noAsk}), true
}

// warnOfMailboxes asks, beside all else, whether the mailboxes exist, and tells where they do not.
func (d *Daemon) warnOfMailboxes(s *setup) {
	all := mailboxes(s.cfg)
	if len(all) == 0 {
		return
	}
	d.looking.Go(func() {
		for _, to := range all {
			if found, ours := d.lookUpMailbox(d.life, s, to, false); ours && found.Standing == evidence.Missing {
				d.log.Warn("the mailbox of bounce_to does not exist: "+mailboxLost, "bounce_to", to.String(), "source", found.Source, "hint", mailboxHint)
			}
		}
	})
}

// mailboxStatus adds what is known of the mailboxes, without asking anybody.
func (d *Daemon) mailboxStatus(s *setup, now time.Time, st *Status) {
	for _, to := range mailboxes(s.cfg) {
		if found, ours := d.lookUpMailbox(d.life, s, to, true); ours && found.Standing == evidence.Missing {
			st.Wrong = append(st.Wrong, fmt.Sprintf("bounce_to: %s does not exist, as %s says: %s", to, found.Source, mailboxLost))
		}
		if r, ok := d.redirects.of(to); ok && now.Before(r.at.Add(24*time.Hour)) {
			st.Wrong = append(st.Wrong, fmt.Sprintf("bounce_to: %s was not taken at %s, so the server behind is told to try again, and gives up at last: %s", to, r.at.UTC().Format(time.RFC3339), r.why))
		}
	}
}

// redirects are the mailboxes of bounce_to that were refused when they were last needed.
type redirects struct {
	mu      sync.Mutex
	refused map[string]refusal // by the key of the address
}

type refusal struct {
	at  time.Time
	why string
}

// note takes down what became of a message that was to go to a mailbox.
func (r *redirects) note(to mail.Address, a evidence.Answer, taken bool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if taken {
		delete(r.refused, to.Key())
		return
	}
	if r.refused == nil {
		r.refused = map[string]refusal{}
	}
	r.refused[to.Key()] = refusal{now, fmt.Sprintf("%s says %s", a.Host, answerText(&a))}
}

func (r *redirects) of(to mail.Address) (refusal, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found, ok := r.refused[to.Key()]
	return found, ok
}

// answerText is an answer on one line.
func answerText(a *evidence.Answer) string {
	if a.Code != 0 {
		return fmt.Sprintf("%d %s %s", a.Code, a.Status, a.Text)
	}
	return a.Text
}

// probeMailbox asks who knows a mailbox of bounce_to, and the server that is to take what goes there.
func (d *Daemon) probeMailbox(ctx context.Context, s *setup, to mail.Address) Probed {
	start := time.Now()
	p := Probed{Kind: "bounce_to", Name: to.String(), State: stateUp}
	found, ours := d.lookUpMailbox(ctx, s, to, false)
	a := evidence.Answer{Outcome: evidence.OutcomeAccepted} // the MTA beside us is not asked
	if out := s.engine.Outbound; out != nil {
		a = s.askRcpt(ctx, out.Relay, to)
	}
	p.MS = millis(time.Since(start))
	switch {
	case ours && found.Standing == evidence.Missing:
		p.State, p.Detail = stateDown, fmt.Sprintf("it does not exist, as %s says: %s", found.Source, mailboxLost)
	case a.Outcome != evidence.OutcomeAccepted:
		p.State, p.Detail = stateDown, "the relay of [outbound] does not take it: "+answerText(&a)
	case ours && found.Standing != evidence.Exists:
		p.Detail, p.odd = "whether it exists cannot be told now", true
	}
	return p
}

// askRcpt asks a downstream about a recipient, and sends nothing.
func (s *setup) askRcpt(ctx context.Context, d *relay.Downstream, to mail.Address) evidence.Answer {
	tx := d.Begin(ctx, relay.Envelope{Client: evidence.Client{
		Addr: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Helo: s.cfg.Hostname, Protocol: "ESMTP",
	}})
	defer tx.Abort()
	return tx.Rcpt(ctx, to, smtp.RcptParams{})
}

// checkMailboxes looks the mailboxes of bounce_to up where files alone say who exists.
func checkMailboxes(cfg *config.Config) (warnings []config.Problem) {
	d := &Daemon{o: Options{Offline: true, Now: time.Now}, log: slog.New(slog.DiscardHandler), directory: directory.New(directory.Config{})}
	defer d.directory.Close()
	s := &setup{cfg: cfg, lists: map[listKey]*list.List{}, maps: map[mapKey]*access.Source{}}
	defer s.closeNew(nil)
	for _, to := range mailboxes(cfg) {
		r := cfg.Routes.Find(to.Domain())
		home := slices.IndexFunc(cfg.Domains, func(c config.Domain) bool { return r != nil && c.Name == r.Name })
		if home < 0 || to.IsPostmaster() || to.IsAbuse() || slices.ContainsFunc(cfg.Domains[home].Sources, func(src config.Source) bool { return src.File == "" }) {
			continue
		}
		chain, err := d.chain(s, nil, &cfg.Domains[home])
		if err != nil {
			continue // told as a problem of that file
		}
		found := d.directory.Lookup(context.Background(), chain, directory.Query{Address: r.Canonical(to), Subaddress: r.Subaddress})
		if found.Standing == evidence.Missing {
			warnings = append(warnings, config.Problem{File: cfg.File, Hint: mailboxHint,
				Message: fmt.Sprintf("bounce_to: %s does not exist, as %s says: %s", to, found.Source, mailboxLost)})
		}
	}
	return warnings
}
