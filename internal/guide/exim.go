package guide

import "fmt"

const aboutExim = "Exim keeps its ports, its queue and its configuration, and asks Backstop at each RCPT, by HTTP, from its ACL: recipients, forged senders, SPF. It gives the reply that Backstop gives. " +
	"Exim speaks no milter, so messages are not looked at: what needs the message (DMARC, bounces at DATA, seals) needs Backstop in front as a gateway."

// The three files are Debian's; elsewhere there is one.
const (
	eximACL    = "/etc/exim4/backstop.acl"
	eximMacros = "/etc/exim4/exim4.conf.localmacros"
)

func exim(m *mta) (Guide, error) {
	m.name, m.user = "Exim", "Debian-exim"
	if err := m.choose("panel"); err != nil {
		return Guide{}, err
	}
	at, err := m.eximAt("panel")
	if err != nil {
		return Guide{}, err
	}
	if m.own != "" || m.doorless || !m.has("panel") && m.told == "" && len(m.smtp) > 0 {
		if m.config.Len() > 0 {
			m.config.WriteString("\n")
		}
		m.config.WriteString("[smtp]\nlisten = []   # Exim has port 25\n")
		m.smtp = nil
	}
	g := Guide{Title: "Exim beside Backstop", About: aboutExim}
	g.Steps = []Step{
		{Title: "Ask at RCPT", File: "exim: acl_check_rcpt", Lines: m.eximLines(at),
			Text: "On Debian into a file of its own, " + eximACL + ", for both kinds of configuration, split and unsplit. Elsewhere into the ACL that acl_smtp_rcpt names, behind the check " +
				"for relaying and before the accept behind it; a callout to the server behind (verify = recipient/callout) comes out."},
		{Title: "Let Debian's ACL read it", File: "exim: macros", Lines: []string{"CHECK_RCPT_LOCAL_ACL_FILE = " + eximACL},
			Text: "Into " + eximMacros + ", or with a split configuration into a new file /etc/exim4/conf.d/main/000_localmacros. Debian's ACL includes the file behind its own checks. Elsewhere nothing of this is needed."},
	}
	if tagging, _ := m.tags(); tagging {
		if err := m.eximTags(&g); err != nil {
			return Guide{}, err
		}
	}
	g.Steps = append(g.Steps, typed("Load it", "Backstop must be running with its new section by then.", []string{"update-exim4.conf", "exim4 -bV", "systemctl reload exim4"}))
	return g, nil
}

// eximAt is a door as ${readsocket} names it.
func (m *mta) eximAt(door string) (string, error) {
	p, err := m.reach(door)
	switch {
	case err != nil:
		return "", err
	case p.path != "":
		m.warn = append(m.warn, fmt.Sprintf("Let [%s] listen on 127.0.0.1 rather than on a unix socket: when Backstop is away Exim 4.96 mishandles such a one from the second question of a connection on, and hangs up.", door))
		return p.path, nil
	}
	return "inet:" + p.hostPort(), nil
}

// eximLines are the statements of the ACL. Whatever is not understood, silence too, defers.
func (m *mta) eximLines(at string) []string {
	return []string{
		fmt.Sprintf("# Backstop answers with an SMTP reply. %s: a look-up may take %s. base64: an address may hold anything.", seconds(m.patience()), seconds(m.slowest())),
		"warn",
		"  set acl_m_backstop = ${if match{${readsocket{" + at + "}\\",
		"    {GET /api/v1/lookup?address64=${base64:${quote_local_part:$local_part}@$domain}\\",
		"&from64=${base64:$sender_address}&helo64=${base64:$sender_helo_name}&client=$sender_host_address HTTP/1.0\\r\\n\\",
		"Accept: text/plain\\r\\n\\r\\n}{" + seconds(m.patience()) + ":shutdown=no}{\\n}{}}}\\",
		"    {\\N\\n\\r?\\n([245]\\d\\d [^\\r\\n]*)\\N}{$1}{451 4.3.0 Temporary failure}}",
		"deny",
		"  condition = ${if match{$acl_m_backstop}{^5}}",
		"  message = $acl_m_backstop",
		"# While Backstop is away, or cannot tell, senders hear 451 and come again.",
		"defer",
		"  condition = ${if !match{$acl_m_backstop}{^2}}",
		"  message = $acl_m_backstop",
	}
}

// eximTags tags what leaves by the socketmap, so that keys stay with Backstop and change there.
func (m *mta) eximTags(g *Guide) error {
	at, err := m.eximAt("socketmap")
	if err != nil {
		return err
	}
	m.use = append(m.use, "socketmap")
	g.Steps = append(g.Steps,
		Step{Title: "Tag what leaves", File: "exim: macros",
			Text: "Into the same file of macros; Debian's transports remote_smtp and remote_smtp_smarthost use it. Elsewhere: return_path = … in the transport. While Backstop is away such mail waits in the queue.",
			Lines: []string{
				"# batv: the tag is Backstop's. One that it does not tag (NOTFOUND) leaves as it is.",
				"REMOTE_SMTP_RETURN_PATH = ${if match{${readsocket{" + at + "}{${strlen:sign $return_path}:sign $return_path,}{10s}{}}}{\\N^\\d+:OK (.*),$\\N}{$1}fail}",
			}},
		Step{Title: "Take tags off what comes back", File: "exim: routers",
			Text: "As the first router: on Debian with a split configuration a new file /etc/exim4/conf.d/router/050_backstop, else in exim4.conf.template behind \"begin routers\". Whether the tag is good Backstop has said at RCPT.",
			Lines: []string{
				"backstop_untag:",
				"  driver = redirect",
				"  domains = +local_domains : +relay_to_domains",
				"  local_parts = \\N^prvs=\\d{4}[0-9a-fA-F]{6}=\\N",
				"  data = ${quote_local_part:${sg{$local_part}{\\N^prvs=\\d{4}[0-9a-fA-F]{6}=\\N}{}}}@$domain",
			}})
	return nil
}
