// Package access reads the files in which other mail servers keep their recipients,
// and answers from them as those servers do:
//
//   - access: Sendmail's access text, before makemap. Of a recipient are looked up,
//     tagged To: and then untagged, the full address, user+*@domain and user@domain
//     where there is a +detail, the same of user@, the domain and its parents. RELAY and
//     OK are a yes; REJECT, DISCARD and an error text are a no, with the file's
//     own code, status and text; a 4xx defers; SKIP ends the search with nothing said.
//   - virtusertable: Sendmail's virtual users, with @domain, +details, %1 to %3, and
//     error: right-hand sides. A target that has a line of its own is followed.
//   - postmap: Postfix's text, before postmap, as relay_recipient_maps and
//     local_recipient_maps read it: the full address, the local part alone, @domain. Values
//     say nothing.
//
// The lines about senders (From:) and clients (Connect:) decide as well, and so do the
// untagged ones: see Source.Sender and Source.Client.
//
// A line for a whole domain that says yes (RELAY for the domain, @domain with a
// mailbox) names nobody. Its yes is marked blind, a warning tells of it, and the
// directory lets sources behind it speak first.
//
// Anything that is not understood is an error with its line. Changes are noticed and
// taken over as package watch says; the last good content stays in force.
//
// # Limits
//
// Other than Sendmail: REJECT answers 550 5.1.1 (Sendmail: 5.2.1, which other gateways
// read as "exists, but is disabled"), DISCARD refuses, since nothing is taken here only
// to be thrown away, an error text without a code takes 550 or 450 after its status,
// and one without a status takes 5.1.1 or 4.1.1 (of a sender or client 5.7.1 or 4.7.1). Words that Sendmail would show as
// the text of a 553 (REJCET) are an error. The order is that for local domains: Sendmail looks
// user@ up late, or not at all, for domains that it only relays. Features that change the meaning
// of a file (lookupdotdomain) are taken for switched off. SKIP for a user ends the search for a
// sender, whom Sendmail would show it as the text of an error. Names of clients are as good as who tells them;
// nothing here asks the DNS. What a line says of a sender does not save his client, as it does under
// FEATURE(delay_checks). Tags for other parts of
// Sendmail (GreetPause:, TLS_Srv:, …) are passed over with a warning.
//
// Other than Postfix: a local part alone counts in every domain that has the map (Postfix:
// in its local domains only), and address extensions are the domain's own subaddress
// setting.
//
// 65,000 different right-hand sides a file, ten errors and a hundred warnings a reading. A
// million entries take 22.5 MB, and 5 MB more where lines must be known: those
// tagged From: or Connect:, and untagged ones that refuse. A virtusertable in which addresses of its own domains point
// at each other needs as much again for these while it is read.
package access
