package dkim

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// maxTags is how many tags a signature or a key record may have; a dozen are defined.
const maxTags = 64

// tag is one NAME=VALUE of a list (RFC 6376, 3.2).
type tag struct {
	name, value string // without white space around
	from, to    int    // where the value stands in the list, with the white space around it
}

// tags is a list of them, without a name twice.
type tags []tag

// parseTags reads a list. Empty places between semicolons are passed over: they are often met, and do no harm.
func parseTags(s string) (tags, error) {
	var list tags
	for at := 0; at < len(s); {
		end := strings.IndexByte(s[at:], ';')
		if end < 0 {
			end = len(s)
		} else {
			end += at
		}
		one := s[at:end]
		name, value, found := strings.Cut(one, "=")
		t := tag{strings.Trim(name, fws), strings.Trim(value, fws), at + len(name) + 1, end}
		at = end + 1
		switch {
		case !found && t.name == "":
			continue
		case !found || !tagName(t.name):
			return nil, fmt.Errorf("%.40q is no tag (RFC 6376, 3.2)", one)
		case len(list) == maxTags:
			return nil, fmt.Errorf("more than %d tags", maxTags)
		}
		if _, twice := list.get(t.name); twice {
			return nil, fmt.Errorf("the tag %.20s= stands there twice (RFC 6376, 3.2)", t.name)
		}
		list = append(list, t)
	}
	return list, nil
}

// fws is what folding white space is made of.
const fws = " \t\r\n"

func tagName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i] | 0x20
		if letter := 'a' <= c && c <= 'z'; !letter && (i == 0 || s[i] != '_' && (s[i] < '0' || s[i] > '9')) {
			return false
		}
	}
	return s != ""
}

func (l tags) get(name string) (tag, bool) {
	for i := range l {
		if l[i].name == name {
			return l[i], true
		}
	}
	return tag{}, false
}

// value is the value of a tag, or what holds where it is absent.
func (l tags) value(name, absent string) string {
	if t, ok := l.get(name); ok {
		return t.value
	}
	return absent
}

// lists says whether one of the words of a list with colons is the one asked for, whatever the case.
func lists(list, word string) bool {
	for one := range strings.SplitSeq(list, ":") {
		if strings.EqualFold(strings.Trim(one, fws), word) {
			return true
		}
	}
	return false
}

// decode reads base64 with white space anywhere, and without padding too.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, fws) {
		s = strings.Map(func(c rune) rune {
			if strings.ContainsRune(fws, c) {
				return -1
			}
			return c
		}, s)
	}
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return nil, errors.New("it is not base64")
	}
	return b, nil
}
