package access

import (
	"strings"

	"backstop/internal/directory"
	"backstop/internal/directory/book"
	"backstop/internal/evidence"
)

// logical is a record of a Postfix map that may go on in the next line.
type logical struct {
	line int
	text string
}

// mapLine reads one line of a Postfix map. White space at its beginning continues the
// record before; empty lines and comments end none (postmap(1)).
func (r *reader) mapLine(n int, line string) {
	text := strings.TrimSpace(line)
	if text == "" || text[0] == '#' {
		return
	}
	if line[0] != ' ' && line[0] != '\t' {
		r.endRecord()
		r.logical = logical{n, text}
		return
	}
	if r.logical.text == "" {
		r.line = n
		r.wrong("the line continues none: the first record begins with white space")
		return
	}
	if len(r.logical.text) < maxLine { // the rest is value, and that is not used
		r.logical.text += " " + text
	}
}

// endRecord reads the record that is complete now.
func (r *reader) endRecord() {
	record := r.logical
	r.logical = logical{}
	if record.text == "" {
		return
	}
	r.line = record.line
	key, ok := book.MapKey(record.text)
	value := strings.TrimSpace(record.text[len(key):])
	switch {
	case !ok:
		r.wrong("the quoted key has no closing quote")
		return
	case value == "":
		r.wrong("%q has no value, and Postfix passes over such a line; write any word behind it", key)
		return
	case key[0] == '/':
		r.wrong("%q is a pattern; regexp: and pcre: tables are not read, postmap: is a plain map", key)
		return
	case key[0] == '@':
		domain, ok := r.domain(key[1:])
		if ok {
			r.warn("@%s accepts everybody there, which makes backscatter: name the users, or a source behind this one", domain)
			r.put(tagNone, "@"+domain, action{})
		}
		return
	}
	if word, _, _ := strings.Cut(value, " "); strings.EqualFold(word, "REJECT") || strings.EqualFold(word, "DISCARD") || len(word) == 3 && digits(word) {
		r.warn("the value of %q is not looked at: in a map of recipients whoever is named exists, %s or not", key, word)
	}
	alone := key[len(key)-1] == '"' || strings.IndexByte(key, '@') < 0
	if alone && strings.IndexByte(key, '@') > 0 {
		r.warn("%s is a local part, quoted as it is; Postfix never finds it as an address", key)
	}
	if name, ok := r.address(key); ok {
		r.users = r.users || alone
		r.put(tagNone, name, action{})
	}
}

// mapped looks a recipient up as Postfix does (mail_addr_find(3)): the address, the local part
// alone, the whole domain. The address without its extension is the directory's question.
func (c *content) mapped(key string) directory.Ruling {
	at := strings.LastIndexByte(key, '@')
	if at <= 0 {
		return directory.Ruling{}
	}
	if _, ok := c.get(tagNone, key, "", ""); ok {
		return directory.Ruling{Standing: evidence.Exists, Exact: true}
	}
	if c.users {
		if _, ok := c.get(tagNone, key[:at], "", ""); ok {
			return directory.Ruling{Standing: evidence.Exists, Exact: true}
		}
	}
	if _, ok := c.get(tagNone, key[at:], "", ""); ok {
		return directory.Ruling{Standing: evidence.Exists, Blind: true, Detail: key[at:] + " accepts everybody"}
	}
	return directory.Ruling{}
}
