package bounce

import (
	"bytes"
	"mime"
	"strings"
)

// maxContentType is how much of a Content-Type field is read, in octets.
const maxContentType = 4096

// content is what a part says of itself. Values are as written; the zero value is text/plain in 7 bits.
type content struct {
	contentType, encoding []byte
}

// is says that the media type is this one, which is given in lower case.
func (c content) is(media string) bool {
	v := bytes.TrimSpace(c.contentType)
	if !hasPrefixFold(v, media) {
		return false
	}
	return len(v) == len(media) || strings.IndexByte("; \t\r\n(,", v[len(media)]) >= 0
}

// within says that the media type is of this family, as in "multipart/".
func (c content) within(family string) bool {
	return hasPrefixFold(bytes.TrimSpace(c.contentType), family)
}

// plain says that the part is text to be read: plain, or of no type.
func (c content) plain() bool {
	return len(bytes.TrimSpace(c.contentType)) == 0 || c.is("text/plain") || c.is("text") || c.is("text/enriched")
}

// param returns the value of a parameter, read leniently: quotes may be missing or not closed.
func (c content) param(name string) string {
	v := c.contentType[:min(len(c.contentType), maxContentType)]
	for {
		i := bytes.IndexByte(v, ';')
		if i < 0 {
			return c.longParam(name)
		}
		v = v[i+1:]
		eq := bytes.IndexByte(v, '=')
		if eq < 0 {
			return c.longParam(name)
		}
		key := v[:eq]
		if i := bytes.LastIndexByte(key, ';'); i >= 0 {
			key = key[i+1:]
		}
		value, rest := paramValue(bytes.TrimLeft(v[eq+1:], " \t\r\n"))
		if equalFold(bytes.TrimSpace(key), name) {
			return value
		}
		v = rest
	}
}

// longParam reads the parameter in the split form of RFC 2231, which hardly anybody writes.
func (c content) longParam(name string) string {
	if bytes.IndexByte(c.contentType, '*') < 0 || len(c.contentType) > maxContentType {
		return ""
	}
	_, ps, err := mime.ParseMediaType(unfold(c.contentType))
	if err != nil {
		return ""
	}
	return ps[name]
}

// paramValue cuts a value, quoted or not, off the front.
func paramValue(v []byte) (value string, rest []byte) {
	if len(v) == 0 || v[0] != '"' {
		if i := bytes.IndexAny(v, "; \t\r\n"); i >= 0 {
			return string(v[:i]), v[i:]
		}
		return string(v), nil
	}
	var s []byte
	for i := 1; i < len(v); i++ {
		switch {
		case v[i] == '"':
			return string(s), v[i+1:]
		case v[i] == '\\' && i+1 < len(v):
			i++
			s = append(s, v[i])
		case v[i] != '\r' && v[i] != '\n':
			s = append(s, v[i])
		}
	}
	return string(s), nil
}

// part is a leaf of a message: what it says of itself, its own header and its octets as they stand.
type part struct {
	content
	header, body []byte
	// report is the media type's parameter of the nearest multipart/report around it, in lower case, or "".
	report string

	searched bool // for a returned header, in decoded
	decoded  []byte
	found    Header
}

// search returns the text of the part and the header that it returns, if it does. The work is done once, because several
// questions depend on it.
func (p *part) search() (text []byte, returned Header) {
	if !p.searched {
		p.decoded = p.text()
		p.found, p.searched = findReturned(p.decoded), true
	}
	return p.decoded, p.found
}

// walker collects the leaves.
type walker struct {
	parts []part
	cut   bool
}

// walk takes a body apart.
func walk(c content, body []byte) walker {
	var w walker
	w.add(c, nil, body, "", 0)
	return w
}

// add takes one part, or all that it is made of. The inside of an attached message stays closed: what is said there
// was said to somebody else.
func (w *walker) add(c content, header, body []byte, report string, depth int) {
	if len(w.parts) >= MaxParts {
		w.cut = true
		return
	}
	if !c.within("multipart/") {
		w.parts = append(w.parts, part{content: c, header: header, body: body, report: report})
		return
	}
	if c.is("multipart/report") {
		report = strings.ToLower(c.param("report-type"))
		if report == "" {
			report = "unnamed"
		}
	}
	border := c.param("boundary")
	if depth >= MaxDepth {
		w.cut = true
		return
	}
	if border == "" || !w.split(border, body, report, depth) {
		// Nothing parts it: it is read as text, which is how it was written.
		w.parts = append(w.parts, part{content: content{encoding: c.encoding}, header: header, body: body, report: report})
	}
}

// split adds what stands between the border lines (RFC 2046, 5.1.1) and says whether there was one. A missing last
// border is none of our business.
func (w *walker) split(border string, body []byte, report string, depth int) bool {
	mark := []byte("--" + strings.TrimRight(border, " \t"))
	start, found := -1, false
	for at := 0; at < len(body); {
		i := bytes.Index(body[at:], mark)
		if i < 0 {
			break
		}
		at += i
		if at > 0 && body[at-1] != '\n' {
			at++ // within a line
			continue
		}
		line, _ := cutLine(body[at:])
		next := at + len(line)
		if isBorder, last := borderLine(line, mark); isBorder {
			if start >= 0 {
				w.child(body[start:trimEnd(body, start, at)], report, depth)
			}
			start, found = next, true
			if last || w.cut {
				return true
			}
		}
		at = next
	}
	if start >= 0 && start < len(body) {
		w.child(body[start:], report, depth)
	}
	return found
}

// borderLine says that the line is a border, and whether it is the last.
func borderLine(line, mark []byte) (is, last bool) {
	if !bytes.HasPrefix(line, mark) {
		return false, false
	}
	rest := line[len(mark):]
	if blank(rest) {
		return true, false
	}
	return bytes.HasPrefix(rest, []byte("--")) && blank(rest[2:]), true
}

// trimEnd returns the end of a part before the border at: the line end before a border belongs to the border.
func trimEnd(body []byte, start, at int) int {
	if at > start && body[at-1] == '\n' {
		at--
		if at > start && body[at-1] == '\r' {
			at--
		}
	}
	return at
}

// child takes a part apart into header and body.
func (w *walker) child(b []byte, report string, depth int) {
	c, header, body := partHead(b)
	w.add(c, header, body, report, depth+1)
}

// partHead reads the header of a part.
func partHead(b []byte) (c content, header, body []byte) {
	rest := b
	for len(rest) > 0 {
		if line, after := cutLine(rest); blank(line) {
			return c, b[:len(b)-len(rest)], after
		}
		var f field
		f, rest = nextField(rest)
		switch {
		case equalFold(f.name, "content-type"):
			c.contentType, rest = goOn(f.value, rest)
		case equalFold(f.name, "content-transfer-encoding"):
			c.encoding = f.value
		}
	}
	return c, b, nil
}

// goOn adds lines to a value that promised more with a semicolon and was not folded.
func goOn(value, rest []byte) (whole, after []byte) {
	for range 4 {
		if !bytes.HasSuffix(bytes.TrimSpace(value), []byte(";")) {
			break
		}
		line, after := cutLine(rest)
		if _, _, ok := splitField(line); ok || blank(line) || bytes.IndexByte(line, '=') < 0 {
			break
		}
		value, rest = append(value[:len(value):len(value)], line...), after
	}
	return value, rest
}
