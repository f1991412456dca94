package guide

import "strings"

func domino(s *site) Guide {
	g := Guide{
		Title: "Domino behind Backstop",
		About: "A Domino server takes mail for anybody in its Internet domains unless it is told to look first, and later bounces what it cannot deliver. Told so, it answers " +
			"550 at RCPT on its usual port. Then nothing more is needed: the RCPT of the mail is the question.",
	}
	g.Steps = []Step{
		typed("Open the server's Configuration document", "In Domino Administrator: Configuration, Messaging, Configurations; choose the document of the server (or make one) and edit it. "+
			"All that follows is on its tab Router/SMTP.", nil),
		typed("Let it look recipients up", "Restrictions and Controls, SMTP Inbound Controls, Inbound Intended Recipients Controls: set \"Verify that local domain recipients exist in the Domino Directory\" "+
			"to Enabled. Two fields appear below it. Leave \"Deny mail to groups\" off if groups get mail from outside. "+
			"This cannot be used where the server hands unknown local users on to a smart host.", nil),
		typed("Say which names count", "Basics, \"Address lookup\": with Fullname only, a user has the addresses that stand in the directory and no others; otherwise a local part may be enough.", nil),
		typed("Let nobody else connect", "Restrictions and Controls, SMTP Inbound Controls, Inbound Connection Controls: in \"Allow connections only from the following SMTP internet hostnames/IP addresses\" "+
			"enter the gateway as ["+s.gateway+"], and every other server of yours that sends mail here. What gets past the gateway is bounced as before.", nil),
		typed("Load it", "Save and close, and on the server's console:", []string{"restart task smtp"}),
	}
	g.Tests = s.tests(0, "550")
	blocks := make([]string, len(s.domains))
	for i := range s.domains {
		d := &s.domains[i]
		recipients := "" // callahead is the default
		if len(d.Recipients) > 0 && d.Recipients[0] != "callahead" {
			recipients = "callahead"
		}
		blocks[i] = domainBlock(d, recipients)
	}
	g.Config = s.own + strings.Join(blocks, "\n")
	return g
}
