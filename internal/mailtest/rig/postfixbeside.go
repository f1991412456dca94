package rig

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

func (b *Beside) postfix(t testing.TB, p Pasted) server {
	t.Helper()
	return StartPostfix(t, PostfixOptions{
		AcceptAll: true, Domains: []string{Domain, OtherDomain}, XClient: true, Paste: p,
		Main: map[string]string{
			"mynetworks":               Inside + "/32",
			"myorigin":                 Domain,
			"smtpd_relay_restrictions": "permit_mynetworks permit_sasl_authenticated reject_unauth_destination",
			"relay_transport":          "smtp:[127.0.0.1]:" + port(b.Store.Addr()),
			"default_transport":        "smtp:[127.0.0.1]:" + port(b.World.Addr()),
			"smtpd_sasl_auth_enable":   "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": "inet:" + newLogins(t),
			// What is put off is tried again at once.
			"queue_run_delay": "1s", "minimal_backoff_time": "1s", "maximal_backoff_time": "1s",
			"notify_classes":                      "", // the postmaster is not told what clients did
			"smtpd_client_connection_count_limit": "0",
		},
	})
}

// pasteMain is a main.cf with text pasted at its end; what was said before of the parameters in the text is gone.
func pasteMain(main map[string]string, text string) string {
	main = maps.Clone(main)
	for line := range strings.Lines(text) {
		if name, _, ok := strings.Cut(line, "="); ok && !continues(line) {
			delete(main, strings.TrimSpace(name))
		}
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(main)) {
		fmt.Fprintf(&b, "%s = %s\n", k, main[k])
	}
	return b.String() + text + "\n"
}

// pasteMaster is a master.cf, one line a service, with text pasted at its end; services that the text has too are gone.
func pasteMaster(master, text string) string {
	service := func(line string) string {
		f := strings.Fields(line)
		return strings.Join(f[:min(2, len(f))], " ")
	}
	var pasted []string
	for line := range strings.Lines(text) {
		if !continues(line) {
			pasted = append(pasted, service(line))
		}
	}
	var b strings.Builder
	for line := range strings.Lines(master) {
		if !slices.Contains(pasted, service(line)) {
			b.WriteString(line)
		}
	}
	return b.String() + text + "\n"
}

// continues says whether a line of Postfix's files goes on with the one before, or is a comment.
func continues(line string) bool { return line == "" || strings.ContainsAny(line[:1], " \t#") }

// complaints returns what Postfix does not like about its configuration. It starts all the same, as with a parameter
// that nobody reads.
func (p *Postfix) complaints() string {
	p.t.Helper()
	var all strings.Builder
	for _, what := range []string{"-n", "-M"} {
		cmd := exec.CommandContext(p.t.Context(), mailtest.Need(p.t, "postconf"), "-c", p.path("conf"), what)
		cmd.Stderr = &all
		if err := cmd.Run(); err != nil {
			fmt.Fprintf(&all, "postconf %s: %v\n", what, err)
		}
	}
	return all.String()
}

func (p *Postfix) address() string { return p.Addr }

// Submit gives it a message by its sendmail command, as programs on its machine do.
func (p *Postfix) Submit(t testing.TB, from, message string, to ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), mailtest.Need(t, "sendmail"), append([]string{"-C", p.path("conf"), "-i", "-f", from, "--"}, to...)...)
	cmd.Stdin = strings.NewReader(message)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sendmail: %v\n%s", err, out)
	}
}
