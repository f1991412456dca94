package guide

import (
	"fmt"
	"strings"

	"backstop/internal/route"
)

// askPort is where the transport service of Exchange answers; the front end on port 25
// hands recipients on only after the message.
const askPort = 2525

func exchange(s *site) Guide {
	g := Guide{
		Title: "Exchange behind Backstop",
		About: "For Exchange 2013, 2016, 2019 and Subscription Edition on servers of your own. Their front end on port 25 takes every recipient and learns only after the message who " +
			"exists: too late, for then somebody gets a bounce. The transport service behind it, on port 2525, looks recipients up at RCPT, once its Recipient Filter agent is " +
			"on. So Backstop asks on 2525, and delivers on 25 only what was found. (Microsoft warns of this agent on Mailbox servers, because one unknown recipient " +
			"fails a whole message there; behind Backstop none arrives.)",
	}
	var book []string
	for _, name := range s.names() {
		book = append(book, "Set-AcceptedDomain "+name+" -AddressBookEnabled $true")
	}
	g.Steps = []Step{
		typed("Switch the Recipient Filter agent on", "In the Exchange Management Shell of each Mailbox server that takes mail. The script installs other agents too; "+
			"the second line tells those that the gateway is yours, so that they do not judge its address.",
			[]string{
				`& $env:ExchangeInstallPath\Scripts\Install-AntiSpamAgents.ps1`,
				`Set-TransportConfig -InternalSMTPServers @{Add="` + s.gateway + `"}`,
				`Enable-TransportAgent "Recipient Filter Agent"`,
				`Set-RecipientFilterConfig -Enabled $true -RecipientValidationEnabled $true`,
			}),
		typed("Let it look into the address book", "Once for the organization. For authoritative domains this is the default, for relayed ones it is not. The name is the one that Get-AcceptedDomain shows.", book),
		typed("Give the gateway a connector of its own on port 2525", "On each of the servers (EX01 is an example of a name). It answers to the gateway alone; anonymous, because the agent does not look at "+
			"sessions that log in; and without the tarpit, which would hold back each refusal for five seconds.",
			[]string{
				"New-ReceiveConnector -Name Backstop -Server EX01 `",
				"    -TransportRole HubTransport `",
				"    -Custom -Bindings 0.0.0.0:2525 -RemoteIPRanges " + s.gateway + " `",
				"    -PermissionGroups AnonymousUsers -AuthMechanism Tls `",
				"    -TarpitInterval 00:00:00",
			}),
		typed("Restart the transport service", "On each of the servers. Mail waits meanwhile.", []string{"Restart-Service MSExchangeTransport"}),
		typed("Close the doors", "At the firewall let only the gateway and the Exchange servers themselves reach port 2525, and only the gateway reach port 25 from outside. "+
			"What still gets to port 25 past the gateway is bounced as before.", nil),
	}
	g.Tests = s.tests(askPort, "550 5.1.1")
	g.Config = s.own + s.exchangeConfig()
	return g
}

// exchangeConfig has a source for each host, for domains may be on several.
func (s *site) exchangeConfig() string {
	var b strings.Builder
	hosts := s.hosts()
	source := map[string]string{}
	for i, h := range hosts {
		name := "exchange"
		if i > 0 {
			name = fmt.Sprintf("exchange%d", i+1)
		}
		source[h] = name
		r := s.relayTo(h)
		r.Port, r.Client = askPort, 0
		if i == 0 {
			b.WriteString("# who exists is asked here; should its filter be off: 451 and a loud log\n")
		}
		fmt.Fprintf(&b, "[source.%s]\ntype       = \"callahead\"\nurl        = %q\nwhen_blind = \"defer\"\n\n", name, r.String())
	}
	for i := range s.domains {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(domainBlock(&s.domains[i], source[s.domains[i].Relay.Host]))
	}
	return b.String()
}

// relayTo is the first relay to this host.
func (s *site) relayTo(host string) route.Relay {
	for i := range s.domains {
		if r := s.domains[i].Relay; r.Host == host {
			return r
		}
	}
	return route.Relay{Host: host}
}
