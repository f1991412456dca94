package blocklist

import (
	"net/netip"
	"strings"
)

// List is what is known of a list beside its answers: what its operator publishes.
type List struct {
	Zone string
	Name string // what people call it
	Why  string // what gets an address onto it; "" where that is not known here, as Off
	Off  string // how it comes off, to be read after "it comes off"
	url  string // where it is looked up by hand; ADDRESS stands for the address
}

// URL is the list's page about an address; "" where none is known.
func (l List) URL(a netip.Addr) string {
	return strings.ReplaceAll(l.url, "ADDRESS", a.String())
}

// known are the lists that name senders of bounces. What is said here is what their operators publish, in our
// words; prices and other things that change are left to their pages.
var known = []List{
	{
		Zone: "ips.backscatterer.org", Name: "backscatterer.org",
		Why: "bounces, automatic replies or sender callouts reached people who had not written",
		Off: "by itself 4 weeks after the last stray bounce was seen; sooner for a fee",
		url: "http://www.backscatterer.org/?target=test",
	},
	{
		Zone: "bl.spamcop.net", Name: "SpamCop",
		Why: "mail from it was reported by users of SpamCop, or reached its spamtraps, as stray bounces do",
		Off: "by itself about 24 hours after the last report",
		url: "https://www.spamcop.net/bl.shtml?ADDRESS",
	},
	{
		Zone: "backscatter.spameatingmonkey.net", Name: "Spam Eating Monkey, SEM-BACKSCATTER",
		Why: "mail with the null sender reached spamtraps, more of it than is overlooked",
		Off: "by itself 15 days after the last stray bounce was seen",
		url: "https://spameatingmonkey.com/lookup",
	},
}

// Known says what is known of the list with this zone; of others that is their zone alone.
func Known(zone string) List {
	for _, l := range known {
		if l.Zone == zone {
			return l
		}
	}
	return List{Zone: zone, Name: zone}
}

// Defaults are the zones that are asked when nobody names others.
func Defaults() []string {
	zones := make([]string, len(known))
	for i, l := range known {
		zones[i] = l.Zone
	}
	return zones
}

// Meaning says what an answer means: of the lists that are known, each of which has one code.
func (l List) Meaning(code netip.Addr) string {
	switch {
	case l.Why != "" && code == testListed:
		return l.Why
	case l.Why != "":
		return "a code that is not known here; the list's page says what it means"
	case code == testListed:
		return "listed; the list's page says for what"
	}
	return "the list's page says what this code means"
}
