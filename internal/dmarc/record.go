package dmarc

import (
	"errors"
	"strings"

	"backstop/internal/evidence"

	"golang.org/x/net/publicsuffix"
)

// Record is what a domain publishes (RFC 7489, 6.3), as far as it says what to do with a message.
type Record struct {
	Policy     evidence.PublishedPolicy // p=
	Subdomains evidence.PublishedPolicy // sp=; Policy where it is not said
	StrictSPF  bool                     // aspf=s
	StrictDKIM bool                     // adkim=s
	Percent    uint8                    // pct=, 0 to 100
}

// Errors of Parse. Behind each, discovery ends: the organisational domain is not asked (RFC 7489, 6.6.3).
var (
	// ErrSeveral: several records stand at one name, so that none applies.
	ErrSeveral = errors.New("several DMARC records are published at this name, so that none applies")
	// ErrPolicy: there is a record, and no policy can be read from it (RFC 7489, 6.6.3, step 6).
	ErrPolicy = errors.New("the DMARC record has no p= of none, quarantine or reject, or an sp= that is none of them")
)

// Parse finds the record among the TXT records at _dmarc.DOMAIN (RFC 7489, 6.6.3). Without error, found
// says whether there is one. Unknown tags are ignored, and a fault in an optional tag means its
// default (6.3); a record without a usable policy is taken as p=none if it asks for reports.
func Parse(txt []string) (r Record, found bool, err error) {
	var tags string
	for _, s := range txt {
		rest, ok := version(s)
		if !ok {
			continue
		}
		if found {
			return Record{}, false, ErrSeveral
		}
		tags, found = rest, true
	}
	if !found {
		return Record{}, false, nil
	}
	if r, err = parseTags(tags); err != nil {
		return Record{}, false, err
	}
	return r, true, nil
}

// version cuts v=DMARC1 off, which stands first (RFC 7489, 6.4). The name of a tag may have any case, its value may not.
func version(s string) (rest string, ok bool) {
	first, rest, _ := strings.Cut(s, ";")
	name, value, ok := strings.Cut(first, "=")
	return rest, ok && strings.EqualFold(trim(name), "v") && trim(value) == "DMARC1"
}

// trim takes white space off both ends.
func trim(s string) string { return strings.Trim(s, " \t\r\n") }

// The tags that are read.
const (
	tagP = iota
	tagSP
	tagADKIM
	tagASPF
	tagPct
	tagRUA
	numTags
)

var tagNames = [numTags]string{"p", "sp", "adkim", "aspf", "pct", "rua"}

// collect finds the tags that are read. One that is there twice could mean either, so it
// means its default.
func collect(s string) (tags [numTags]string) {
	var seen [numTags]int
	for part := range strings.SplitSeq(s, ";") {
		name, value, _ := strings.Cut(part, "=")
		name, value = strings.ToLower(trim(name)), trim(value)
		for i, n := range tagNames {
			if n == name {
				tags[i] = value
				seen[i]++
			}
		}
	}
	for i, n := range seen {
		if n > 1 {
			tags[i] = ""
		}
	}
	return tags
}

func parseTags(s string) (Record, error) {
	tags := collect(s)
	r := Record{
		Policy:     policy(tags[tagP]),
		Subdomains: policy(tags[tagSP]),
		StrictSPF:  strings.EqualFold(tags[tagASPF], "s"),
		StrictDKIM: strings.EqualFold(tags[tagADKIM], "s"),
		Percent:    percent(tags[tagPct]),
	}
	wrongSub := r.Subdomains == evidence.PolicyUnknown && tags[tagSP] != ""
	if r.Policy == evidence.PolicyUnknown || wrongSub { // RFC 7489, 6.6.3, step 6
		if !reports(tags[tagRUA]) {
			return Record{}, ErrPolicy
		}
		r.Policy, r.Subdomains = evidence.PolicyNone, evidence.PolicyNone
	}
	if r.Subdomains == evidence.PolicyUnknown {
		r.Subdomains = r.Policy
	}
	return r, nil
}

func policy(s string) evidence.PublishedPolicy {
	for _, p := range []evidence.PublishedPolicy{evidence.PolicyNone, evidence.PolicyQuarantine, evidence.PolicyReject} {
		if strings.EqualFold(s, p.String()) {
			return p
		}
	}
	return evidence.PolicyUnknown
}

// percent reads one to three digits; everything else is the default.
func percent(s string) uint8 {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' || i == 3 {
			return 100
		}
		n = n*10 + int(s[i]-'0')
	}
	if s == "" || n > 100 {
		return 100
	}
	return uint8(n)
}

// reports says whether one of the addresses for reports is one: mailto is the scheme that all must know (RFC 7489, 6.2).
func reports(rua string) bool {
	for uri := range strings.SplitSeq(rua, ",") {
		scheme, to, ok := strings.Cut(trim(uri), ":")
		local, domain, at := strings.Cut(to, "@")
		if ok && at && strings.EqualFold(scheme, "mailto") && local != "" && domain != "" {
			return true
		}
	}
	return false
}

// OrgDomain is the domain that somebody registered, to which a folded domain belongs (RFC 7489, 3.2): one label below
// the longest public suffix. A public suffix, and what is no domain, is returned as it is.
func OrgDomain(domain string) string {
	org, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil || domain[0] == '[' {
		return domain
	}
	return org
}
