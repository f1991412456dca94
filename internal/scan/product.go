package scan

import "strings"

// product is a mail server as it is sold or given away.
type product struct {
	id   string
	name string
}

const (
	idExchange  = "exchange"
	idMicrosoft = "microsoft365"
	idBackstop  = "backstop"
)

// signs are the words by which a product is known, in lower case.
type signs struct {
	product
	banner []string // behind the host's name, which may be any word; with a dot also in that
	ehlo   []string // beginnings of lines
	says   []string // in other answers
}

// known are the products; the first that fits counts. Words of the banner come before those of EHLO, and these before
// what they answer, which others have copied.
var known = []signs{
	{product{idBackstop, "Backstop"}, []string{"esmtp backstop"}, nil, nil},
	{product{idMicrosoft, "Microsoft 365"}, []string{"protection.outlook.com", "outlook.com microsoft esmtp"}, nil, []string{"recipient address rejected: access denied. as("}},
	{product{"google", "Google"}, []string{"mx.google.com", "gsmtp"}, nil, []string{"gsmtp"}},
	{product{"filter", "a filtering service or appliance"}, []string{"barracuda", "pphosted.com", "mimecast.com", "messagelabs.com", "iphmx.com", "ppe-hosted.com", "ironport", "fortimail", "sophos", "trendmicro", "antispamcloud.com", "hornetsecurity.com", "proxmox", "spamexperts"}, nil, nil},
	{product{"domino", "HCL Domino"}, []string{"domino"}, nil, []string{"not listed in domino directory", "not listed in public name"}},
	{product{"mdaemon", "MDaemon"}, []string{"mdaemon"}, nil, nil},
	{product{"hmailserver", "hMailServer"}, []string{"hmailserver"}, nil, []string{"550 unknown user"}},
	{product{"opensmtpd", "OpenSMTPD"}, []string{"opensmtpd"}, nil, []string{"550 invalid recipient", "destination address valid: recipient ok"}},
	{product{"postfix", "Postfix"}, []string{"postfix"}, nil, []string{"user unknown in virtual mailbox table", "user unknown in relay recipient table", "user unknown in local recipient table", "user unknown in virtual alias table", "recipient address rejected: unverified address"}},
	{product{"exim", "Exim"}, []string{"exim"}, []string{"pipe_connect", "x_pipe_connect", "pipeconnect", "prdr"}, nil},
	{product{"sendmail", "Sendmail"}, []string{"sendmail"}, []string{"deliverby"}, nil},
	{product{"courier", "Courier"}, []string{"courier"}, []string{"xverp", "xsecurity", "xexdata"}, nil},
	{product{"haraka", "Haraka"}, []string{"haraka"}, []string{"haraka says hi"}, []string{"haraka"}},
	{product{"kerio", "Kerio Connect"}, []string{"kerio"}, nil, nil},
	{product{"smartermail", "SmarterMail"}, []string{"smartermail"}, nil, nil},
	{product{"mailenable", "MailEnable"}, []string{"mailenable"}, nil, nil},
	{product{"icewarp", "IceWarp"}, []string{"icewarp", "merak"}, nil, nil},
	{product{"communigate", "CommuniGate Pro"}, []string{"communigate"}, nil, nil},
	{product{"james", "Apache James"}, []string{"james smtp", "apache james"}, nil, nil},
	{product{"stalwart", "Stalwart"}, []string{"stalwart"}, nil, nil},
	{product{"maddy", "maddy"}, []string{"maddy"}, nil, nil},
	{product{"iis", "Microsoft's SMTP service of IIS, or Exchange 2003"}, []string{"microsoft esmtp mail service, version"}, nil, nil},
	{product{idExchange, "Microsoft Exchange"}, []string{"microsoft esmtp mail service"}, []string{"x-exps", "x-anonymoustls", "xexch50", "xrdst", "x-exch"}, []string{"5.1.10 resolver.adr"}},
	{product{"qmail", "qmail"}, []string{"qmail"}, nil, []string{"250 flushed", "in my list of allowed rcpthosts", "no mailbox here by that name", "vchkuser", "chkuser"}},
	// By habits alone, where the banner has been changed.
	{product{"postfix", "Postfix"}, nil, nil, []string{"sender address rejected: ", "recipient address rejected: "}},
	{product{"sendmail", "Sendmail"}, nil, nil, []string{"... recipient ok", "... sender ok", "... user unknown"}},
}

// inBanner looks for the words of a banner, whose second word is the name of the host.
func (k *signs) inBanner(banner string) bool {
	fields := strings.Fields(strings.ToLower(banner))
	rest := strings.Join(fields[min(2, len(fields)):], " ")
	for _, w := range k.banner {
		if strings.Contains(rest, w) || strings.Contains(w, ".") && strings.Contains(strings.Join(fields, " "), w) {
			return true
		}
	}
	return false
}

// inEhlo looks for the beginnings of lines behind the first, which greets.
func (k *signs) inEhlo(lines []string) bool {
	for _, line := range lines[min(len(lines), 1):] {
		for _, w := range k.ehlo {
			if len(line) > 4 && strings.HasPrefix(strings.ToLower(line[4:]), w) {
				return true
			}
		}
	}
	return false
}

// product says whose words these are; the zero value: nobody's that are known.
func (f *facts) product() product {
	for i := range known {
		if known[i].inBanner(f.banner) {
			return known[i].product
		}
	}
	for i := range known {
		if known[i].inEhlo(f.ehlo) {
			return known[i].product
		}
	}
	said := strings.ToLower(f.said)
	for i := range known {
		if has(said, known[i].says...) {
			return known[i].product
		}
	}
	return product{}
}

// cures say what to change in a product that accepts unknown recipients.
var cures = map[string]string{
	"postfix":     "Postfix: tell it who exists. relay_recipient_maps for the domains in relay_domains, virtual_mailbox_maps without an \"@domain\" line for virtual_mailbox_domains, local_recipient_maps (not empty) for mydestination; and no \"@domain\" in virtual_alias_maps. Where another server knows the users, reject_unverified_recipient in smtpd_recipient_restrictions, with unverified_recipient_reject_code = 550.",
	"exim":        "Exim: put `require verify = recipient` into the ACL of RCPT (acl_check_rcpt), and where another server has the mailboxes `require verify = recipient/callout=20s,use_sender`. Debian's configuration has the first for local domains only. A router with `condition = …` and `data = :fail:` bounces late: it must be seen by verify.",
	"sendmail":    "Sendmail: end the virtusertable of the domain with `@domain error:nouser 550 User unknown` instead of a catch-all, and unset LUSER_RELAY. For domains of the mailertable, FEATURE(`access_db', `…', `relaytofulladdress') and FEATURE(`blocklist_recipients') with the users in the access map (`To:user@domain RELAY`) and behind them `To:domain ERROR:5.1.1:\"550 User unknown\"`.",
	"opensmtpd":   "OpenSMTPD: let the rule know its users. `match from any for rcpt-to <users> action …`, or a `virtual`, `userbase` or `alias` table in the action without an \"@\" line that catches all; a rule `for domain D` alone with `relay` takes anybody.",
	idExchange:    "Exchange: Set-AcceptedDomain -DomainType Authoritative; Set-AcceptedDomain -AddressBookEnabled $true; install-AntispamAgents.ps1 where the agents are missing; Set-RecipientFilterConfig -Enabled $true -RecipientValidationEnabled $true; then restart the transport service. Exchange 2013 and later refuse on port 25 only after DATA, for the front end does not look anybody up: at RCPT its hub does, on port 2525.",
	"iis":         "Exchange 2003: System Manager, Global Settings, Message Delivery, Recipient Filtering: \"Filter recipients who are not in the Directory\", and then \"Apply Recipient Filter\" for the address of the SMTP virtual server (General, Advanced). The SMTP service of IIS alone looks nobody up: something in front of it has to. Both are no longer maintained.",
	idMicrosoft:   "Microsoft 365: make the accepted domain Authoritative (Exchange admin center, Mail flow, Accepted domains), once all recipients are there: then Directory-Based Edge Blocking refuses the others at RCPT. With \"Internal relay\" it takes anybody.",
	"domino":      "Domino: Configuration document, Router/SMTP, Restrictions and Controls, SMTP Inbound Controls: set \"Verify that local domain recipients exist in the Domino Directory\" to Enabled, and `tell smtp update config`.",
	"mdaemon":     "MDaemon: Security Settings, Relay Control, Account Verification: switch on \"SMTP RCPT address must exist if it uses a local domain\", without exceptions for strangers; and remove a catch-all (*@domain) from the aliases.",
	"hmailserver": "hMailServer: Domains, the domain, Advanced: empty the field \"Catch-all address\"; and no route with \"Deliver to all addresses\" for the domain.",
	"qmail":       "qmail: as it is delivered it asks nobody before it takes the mail. Add a check of recipients (validrcptto, chkuser, or spamdyke in front), and remove .qmail-default or vdelivermail's catch-all (`bounce-no-mailbox` bounces late, too).",
	"courier":     "Courier: remove the .courier-default file and the `@domain` alias that take everybody.",
	"haraka":      "Haraka: rcpt_to.in_host_list takes every address of a domain. Add a plugin that knows people (rcpt_to.ldap, rcpt_to.routes with one line for each, qmail-deliverable), so that RCPT is refused.",
	"google":      "Google Workspace: Admin console, Apps, Gmail, Default routing: remove the catch-all rule, so that unrecognized addresses are rejected.",
	"filter":      "A filter stands in front and takes what the server behind it will refuse. Switch on its recipient verification (by LDAP, by a list, or by asking the server behind at RCPT), and make that server answer truthfully.",
	idBackstop:    "Backstop itself: no source knows who exists (`recipients = [\"anybody\"]`), its source is blind, or it is in watch mode. `backstop check --ask` and `backstop status` say which.",
	"":            "Find in its documentation how unknown recipients are refused during the SMTP session (at RCPT), and switch off any catch-all address.",
}

// guides are the products that `backstop setup` has lines for, by id.
var guides = map[string]string{"postfix": "postfix", "exim": "exim", "sendmail": "sendmail", idExchange: "exchange", "domino": "domino"}

// relayCures say how a product is closed.
var relayCures = map[string]string{
	"postfix":   "Postfix: smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination, and mynetworks with your own networks only.",
	"exim":      "Exim: `require domains = +local_domains : +relay_to_domains` in the ACL of RCPT, and relay_from_hosts with your own networks only.",
	"sendmail":  "Sendmail: remove FEATURE(`promiscuous_relay') and its like; list domains in relay-domains or the access map, and networks with Connect:.",
	"opensmtpd": "OpenSMTPD: no `match from any for any`; let only `from local` or `auth` relay.",
	"iis":       "IIS and Exchange 2003: SMTP virtual server, Access, Relay: \"Only the list below\", with your own networks only.",
	idExchange:  "Exchange: take ms-Exch-SMTP-Accept-Any-Recipient away from ANONYMOUS LOGON on the receive connector (Get-ADPermission shows it).",
}
