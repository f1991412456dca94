package bounce

import "bytes"

// returned finds the returned header, once.
func (n *notice) returned() Header {
	if !n.searched {
		n.back, n.searched = n.search(), true
	}
	return n.back
}

// search looks for the returned header in the places where servers put it.
func (n *notice) search() Header {
	if h := n.returnedPart(); !h.Empty() {
		return h
	}
	for i, p := range n.parts {
		// A part that has no header of its own begins with that of the message.
		if h := headerIn(p.header); i > 0 && !h.Empty() && h.set().header() {
			return h
		}
	}
	for i := range n.parts {
		if p := &n.parts[i]; p.plain() {
			if _, h := p.search(); !h.Empty() {
				return h
			}
		}
	}
	for _, p := range n.parts {
		if p.within("application/") {
			if h := p.returned(); !h.Empty() && h.set().header() {
				return h
			}
		}
	}
	// The borders may be broken: what they should have parted is searched as it stands.
	if len(n.parts) == 1 && n.parts[0].searched && len(n.parts[0].decoded) == len(n.body) {
		return Header{} // it was, just now
	}
	return findReturned(n.body)
}

// returnedPart looks for the header in the parts made for it.
func (n *notice) returnedPart() Header {
	for _, p := range n.parts {
		if p.is("message/rfc822") || p.is("message/global") || p.is("text/rfc822-headers") || p.is("message/global-headers") ||
			p.is("text/rfc822-header") || p.is("message/rfc822-headers") || p.is("text/rfc822") {
			if h := p.returned(); !h.Empty() {
				return h
			}
		}
	}
	return Header{}
}

// set says which fields the header has.
func (h Header) set() fieldSet {
	var s fieldSet
	for rest := h.raw; len(rest) > 0; {
		var f field
		f, rest = nextField(rest)
		s = s.with(f.name)
	}
	return s
}

// maxMarkers is how many lines that announce a header are believed in one text.
const maxMarkers = 10

// findReturned finds a returned header in plain text: behind a line that announces it, or else as
// lines that can be nothing else.
func findReturned(t []byte) Header {
	tried := 0
	for rest := skipEmpty(t); len(rest) > 0 && tried < maxMarkers; rest = skipEmpty(rest) {
		var line []byte
		line, rest = cutLine(rest)
		if isMarker(line) {
			tried++
			if h := headerAfter(rest); h.set().count() >= 2 {
				return h
			}
		}
	}
	return findBlock(t)
}

// isMarker says that the line announces the returned message.
func isMarker(line []byte) bool {
	line = bytes.TrimLeft(line, " \t-=*_>~#")
	if len(line) < 10 || len(line) > 200 {
		return false
	}
	for _, m := range &markers {
		if hasPrefixFold(line, m) {
			return true
		}
	}
	return false
}

// headerAfter reads the header that begins within the next lines, indented or quoted or not.
func headerAfter(t []byte) Header {
	for range 8 {
		line, rest := cutLine(t)
		bare := bytes.TrimLeft(line, " \t>|")
		if name, _, ok := splitField(bare); ok && (fieldSet(0).with(name) != 0 || hasPrefixFold(name, "x-")) {
			if indent := line[:len(line)-len(bare)]; len(indent) > 0 {
				t = outdent(t, indent)
			}
			return headerIn(t)
		}
		t = rest
	}
	return Header{}
}

// outdent takes the indent off the lines that have it, up to the first that is blank without it.
func outdent(t, indent []byte) []byte {
	var out []byte
	for len(t) > 0 {
		var line []byte
		line, t = cutLine(t)
		line, had := bytes.CutPrefix(line, indent)
		if !had || blank(line) {
			break
		}
		out = append(out, line...)
	}
	return out
}

// findBlock finds lines that only a header has, with nothing before them to say so.
func findBlock(t []byte) Header {
	start, seen := -1, fieldSet(0)
	for at := 0; at < len(t); {
		f, rest := nextField(t[at:])
		if f.name == nil {
			if start >= 0 && seen.header() {
				return Header{raw: t[start:at:at]}
			}
			start, seen = -1, 0
			rest = skipEmpty(rest)
		} else {
			if start < 0 {
				start = at
			}
			seen = seen.with(f.name)
		}
		at = len(t) - len(rest)
	}
	if start >= 0 && seen.header() {
		return Header{raw: t[start:]}
	}
	return Header{}
}
