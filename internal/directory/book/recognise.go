package book

import (
	"errors"
	"io"
	"path/filepath"
	"strings"

	"backstop/internal/mail"
)

var errUnknown = errors.New("it is not clear what kind of file this is; say it with --format list, access, virtusertable, postfix, ldif or csv")

// Recognise finds out what kind of file this is, from its beginning and its name. The error is that of
// reading, or says that it is not clear.
func Recognise(name string, in io.Reader) (Format, error) {
	text, err := decode(in)
	if err != nil {
		return Unknown, err
	}
	return recognise(name, text)
}

// recognise finds out what a text is, from its beginning and its name.
func recognise(name string, text source) (Format, error) {
	head, err := text.Peek(sample)
	if err != nil && err != io.EOF {
		return Unknown, err
	}
	lines := strings.Split(string(head), "\n")
	if err == nil && len(lines) > 1 {
		lines = lines[:len(lines)-1] // not whole
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".ldif", ".ldf":
		return LDIF, nil
	case ".csv", ".tsv":
		return CSV, nil
	}
	if first := strings.TrimSpace(lines[0]); strings.HasPrefix(first, "#TYPE ") || separatorLine(first) != 0 {
		return CSV, nil
	}
	var said []string // the lines that say something
	for _, l := range lines {
		if l = strings.TrimRight(l, "\r"); strings.TrimSpace(l) != "" && l[0] != '#' {
			said = append(said, l)
		}
	}
	if len(said) == 0 { // comments alone are an empty list
		return List, nil
	}
	return recogniseLines(name, said)
}

func recogniseLines(name string, said []string) (Format, error) {
	first := strings.ToLower(said[0])
	switch {
	case strings.HasPrefix(first, "dn:") || strings.HasPrefix(first, "version:"):
		return LDIF, nil
	case hasHeader(said[0]):
		return CSV, nil
	}
	if f := mapOrList(name, said); f != Unknown {
		return f, nil
	}
	if count(said[0], separatorOf(said[0])) > 0 || strings.HasPrefix(said[0], `"`) {
		return CSV, nil
	}
	return Unknown, errUnknown
}

// hasHeader says whether the line names a column that is known to hold addresses.
func hasHeader(line string) bool {
	for cell := range strings.SplitSeq(line, string(separatorOf(line))) {
		if tierOf(strings.Trim(cell, `"`)) > 0 {
			return true
		}
	}
	return false
}

// mapOrList tells the formats apart that have a key a line, by what most of the lines are, so
// that a mistake in one is told with its line. Unknown: it is none of them.
func mapOrList(name string, said []string) Format {
	single, odd := 0, 0
	addressed, sendmail, virtual := false, false, false
	for _, l := range said {
		if l[0] == ' ' || l[0] == '\t' { // goes on the line before, in a Postfix map
			continue
		}
		key, _ := MapKey(WithoutComment(l))
		value := strings.TrimSpace(WithoutComment(l)[len(key):])
		tag, rest, tagged := strings.Cut(key, ":")
		tagged = tagged && (strings.EqualFold(tag, "To") || notRecipient(tag))
		if tagged {
			key = rest
		}
		if !tagged && !keyLike(key) {
			odd++
			continue
		}
		at := strings.IndexByte(key, '@')
		addressed = addressed || at >= 0 || tagged
		sendmail = sendmail || tagged || value != "" && accessNo(value) || strings.EqualFold(value, "RELAY")
		virtual = virtual || strings.HasPrefix(strings.ToLower(value), "error:") && at == 0
		if value == "" {
			single++
		}
	}
	switch {
	case odd*2 > len(said) || single*2 <= len(said) && !addressed:
		return Unknown
	case single*2 > len(said)-odd:
		return List
	case virtual || strings.Contains(filepath.Base(name), "virtuser"):
		return Virtusertable
	case sendmail || filepath.Base(name) == "access":
		return Access
	}
	return Postfix
}

// keyLike says whether the word may be a key of a map or a line of a list: an address,
// a local part, user@, @domain, or a domain.
func keyLike(word string) bool {
	if len(word) > 2 && word[0] == '"' && word[len(word)-1] == '"' && strings.IndexByte(word, '@') > 0 {
		return false // a cell
	}
	word = strings.TrimSuffix(strings.TrimPrefix(word, "@"), "@")
	_, err := mail.ParseAddress(word)
	return err == nil
}
