package ldapdir

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"backstop/internal/mail"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"golang.org/x/net/idna"
)

// What a filter is asked with.
const (
	forAddress = "{address}"
	forUser    = "{user}"
	forDomain  = "{domain}"
)

var placeholders = [...]string{forAddress, forUser, forDomain}

const (
	// byAddress finds whoever has the address: in the attribute of RFC 4524, in
	// Exchange's, and in that of sendmail's schema. An attribute that a server does not know
	// is undefined there, which an "or" passes over (RFC 4511, 4.5.1.7).
	byAddress = "(|(mail={address})(proxyAddresses=smtp:{address})(mailLocalAddress={address}))"
	// notDisabled leaves out disabled accounts of Active Directory, but not those with an
	// Exchange mailbox: a shared mailbox or a room is a disabled account. Groups and contacts
	// have no userAccountControl. It knows a matching rule that only AD has, so nobody else may see it.
	notDisabled = "(|(!(userAccountControl=*))(!(userAccountControl:1.2.840.113556.1.4.803:=2))(msExchRecipientTypeDetails=*))"

	maxFilter = 8192 // octets

	// mark stands for a recipient while the filter is looked at. It is made of ordinary letters,
	// so it may stand wherever letters may.
	mark = "xX7placeholderX7x"
)

// template is a filter before somebody is asked about.
type template struct {
	text  string
	whole bool // the operator's own from end to end, so nothing is added
	own   bool // the operator has a hand in it
}

// CheckFilter says what is wrong with a filter (RFC 4515), if anything. {address}, {user}
// and {domain} in it are replaced by those of the recipient; they may stand only where a value
// does. A filter with none of them is a further condition to the default one, and "" is none.
func CheckFilter(filter string) error {
	_, err := parseTemplate(filter)
	return err
}

func parseTemplate(filter string) (*template, error) {
	filter = strings.TrimSpace(filter)
	if filter == "" {
		return &template{text: byAddress}, nil
	}
	if len(filter) > maxFilter {
		return nil, fmt.Errorf("the filter is longer than %d octets", maxFilter)
	}
	if rest := strings.NewReplacer(forAddress, "", forUser, "", forDomain, "").Replace(filter); strings.ContainsAny(rest, "{}") {
		return nil, fmt.Errorf(`the filter %q has a brace that is none of {address}, {user} and {domain}; as itself it is written \7b or \7d`, filter)
	}
	count := 0
	for _, p := range placeholders {
		count += strings.Count(filter, p)
	}
	t := &template{text: filter, own: true, whole: count > 0}
	p, err := ldap.CompileFilter(strings.NewReplacer(forAddress, mark, forUser, mark, forDomain, mark).Replace(filter))
	if err != nil {
		return nil, fmt.Errorf("the filter %q is not one of RFC 4515: %v", filter, short(err))
	}
	values, err := marksInValues(p)
	if err != nil {
		return nil, fmt.Errorf("the filter %q: %w", filter, err)
	}
	if values != count {
		return nil, fmt.Errorf("the filter %q: {address}, {user} and {domain} may stand in a value only, behind the \"=\"", filter)
	}
	if !t.whole {
		t.text = "(&" + filter + byAddress + ")"
	}
	return t, nil
}

// marksInValues counts the marks in the values of a compiled filter, and finds what a
// server would refuse to read.
func marksInValues(p *ber.Packet) (int, error) {
	n := 0
	err := eachItem(p, func(attribute string, values []string) error {
		if attribute == "" {
			return errors.New("an attribute has no name")
		}
		if strings.ContainsAny(attribute, " \t\"'") {
			return fmt.Errorf("%q is no attribute's name", attribute)
		}
		for _, v := range values {
			n += strings.Count(v, mark)
		}
		return nil
	})
	return n, err
}

// eachItem calls do for each comparison in a compiled filter (RFC 4511, 4.5.1).
func eachItem(p *ber.Packet, do func(attribute string, values []string) error) error {
	text := func(p *ber.Packet) string { return ber.DecodeString(p.Data.Bytes()) }
	switch p.Tag {
	case ldap.FilterAnd, ldap.FilterOr, ldap.FilterNot:
		for _, c := range p.Children {
			if err := eachItem(c, do); err != nil {
				return err
			}
		}
		return nil
	case ldap.FilterPresent:
		return do(text(p), nil)
	case ldap.FilterExtensibleMatch:
		var attribute, rule, value string
		for _, c := range p.Children {
			switch c.Tag {
			case ldap.MatchingRuleAssertionMatchingRule:
				rule = text(c)
			case ldap.MatchingRuleAssertionType:
				attribute = text(c)
			case ldap.MatchingRuleAssertionMatchValue:
				value = text(c)
			}
		}
		if attribute == "" {
			attribute = rule
		}
		return do(attribute, []string{value})
	case ldap.FilterSubstrings:
		var values []string
		for _, c := range p.Children[1].Children {
			values = append(values, text(c))
		}
		if len(values) == 0 {
			return errors.New("two asterisks with nothing between them: one is enough")
		}
		return do(text(p.Children[0]), values)
	}
	return do(text(p.Children[0]), []string{text(p.Children[1])})
}

// attributes are those that are compared with the address.
func (t *template) attributes() []string {
	var all []string
	text := strings.NewReplacer(forAddress, mark, forUser, "u", forDomain, "d").Replace(t.text)
	p, err := ldap.CompileFilter(text)
	if err != nil { // parseTemplate has compiled it
		return nil
	}
	_ = eachItem(p, func(attribute string, values []string) error {
		has := slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, mark) })
		if has && !slices.Contains(all, attribute) {
			all = append(all, attribute)
		}
		return nil
	})
	return all
}

// question is the filter that finds one recipient.
func (t *template) question(addr mail.Address, ad bool) string {
	key, domain := addr.Key(), addr.Domain()
	f := t.fill(key, addr.LocalKey(), domain)
	if u := unicodeDomain(domain); u != domain {
		f = "(|" + f + t.fill(addr.LocalKey()+"@"+u, addr.LocalKey(), u) + ")"
	}
	return t.complete(f, ad)
}

// anybody is the filter that holds for all recipients.
func (t *template) anybody(ad bool) string {
	f := strings.NewReplacer(forAddress, "*", forUser, "*", forDomain, "*").Replace(t.text)
	for strings.Contains(f, "**") {
		f = strings.ReplaceAll(f, "**", "*")
	}
	return t.complete(f, ad)
}

// complete adds what the kind of server asks for.
func (t *template) complete(f string, ad bool) string {
	if ad && !t.whole {
		return "(&" + f + notDisabled + ")"
	}
	return f
}

// fill puts a recipient in. It is done in one go, so that nothing of one value is ever
// taken for a placeholder of the next.
func (t *template) fill(address, user, domain string) string {
	return strings.NewReplacer(
		forAddress, ldap.EscapeFilter(address),
		forUser, ldap.EscapeFilter(user),
		forDomain, ldap.EscapeFilter(domain),
	).Replace(t.text)
}

// unicodeDomain is the domain as people write it, where that is another form.
func unicodeDomain(domain string) string {
	if !strings.Contains(domain, "xn--") {
		return domain
	}
	u, err := idna.ToUnicode(domain)
	if err != nil {
		return domain
	}
	return u
}
