// Package rig starts real mail servers for tests: Postfix, Exim, go-smtp and the
// scripted mock, each with a private folder, on a free loopback port, gone when
// the test ends. PlayAll plays a set of dialogues against each of them, bare or
// with a gateway in front. StartBouncer starts one of four that take everything and
// bounce later: Postfix, Exim, Sendmail and OpenSMTPD. OpenBeside starts one of three for Backstop to be
// plugged into, by lines that are pasted into its configuration.
//
// What a server has accepted it hands on by LMTP to a mock of its own, its
// store. So what every peer holds can be compared octet for octet, and
// mailtest's invariant holds a real server to account as it does the mock.
//
// # Limits
//
// The servers want the superuser, Debian's paths, and all but Postfix a mount
// namespace (Exim and OpenSMTPD insist on users of their own in /etc/passwd, which are shown to
// them alone); without these, tests are skipped aloud. OpenSMTPD takes a second for a bounce. A server may not find its
// port free any more when it starts (it is picked by us and bound by the server);
// starting is then tried again, three times at most. Samba cannot be told its ports,
// so each controller has a loopback address of its own, and the superuser for ports below 1024; to
// make its domain takes a processor five seconds. Exim pauses 200 ms a
// session by itself, so suites against it are slow. A client that wants another address has to come from it, so all
// clients have addresses in 127.0.0.0/8; only Postfix takes XCLIENT.
package rig

// Domain is the domain that every peer receives mail for.
const Domain = "example.com"

// Users returns the local parts that exist at every peer unless told otherwise.
func Users() []string {
	return []string{"alice", "bob", "carol", "postmaster", "abuse", `"john q public"`, "m\u00fcller"}
}
