package milter

import "bytes"

// ranks are the stages in the order in which a connection passes through them. Header and body
// have no macros in Sendmail; Postfix gives them.
const (
	rankConnect = iota
	rankHelo
	rankMail
	rankRcpt
	rankData
	rankHeader
	rankEOH
	rankBody
	rankEOM
	ranks
)

func rankOf(command byte) int {
	switch command {
	case cmdConnect:
		return rankConnect
	case cmdHelo:
		return rankHelo
	case cmdMail:
		return rankMail
	case cmdRcpt:
		return rankRcpt
	case cmdData:
		return rankData
	case cmdHeader:
		return rankHeader
	case cmdEOH:
		return rankEOH
	case cmdBody:
		return rankBody
	case cmdEOB:
		return rankEOM
	}
	return -1
}

// macros holds, for each stage, what the MTA said: name NUL value NUL and so on. As in libmilter a stage's macros
// replace those that it had before, and those of later stages are forgotten when an earlier one comes again.
type macros struct{ of [ranks][]byte }

// set takes the data of SMFIC_MACRO.
func (m *macros) set(data []byte) error {
	if len(data) == 0 {
		return broken("macros for no command")
	}
	rank, list := rankOf(data[0]), data[1:]
	if n := bytes.Count(list, []byte{0}); n%2 != 0 || n > 0 && list[len(list)-1] != 0 || n == 0 && len(list) > 0 {
		return broken("macros that are no pairs")
	}
	if rank < 0 {
		return nil // as libmilter: of commands that have none, as UNKNOWN
	}
	m.forget(rank + 1)
	if bytes.Equal(m.of[rank], list) {
		return nil // the common case between two header fields
	}
	m.of[rank] = bytes.Clone(list)
	return nil
}

// forget drops the macros of the stages from rank on.
func (m *macros) forget(rank int) {
	for i := rank; i < ranks; i++ {
		m.of[i] = nil
	}
}

// get is the value of a macro at the latest stage that has it. A name of more than one letter stands in braces on
// the wire, and some MTAs send single letters in braces too: both forms are one.
func (m *macros) get(name string) string {
	for i := ranks - 1; i >= 0; i-- {
		for list := m.of[i]; len(list) > 0; {
			key, rest, err := takeString(list)
			if err != nil {
				break
			}
			value, rest, err := takeString(rest)
			if err != nil {
				break
			}
			if sameMacro(key, name) {
				return string(value)
			}
			list = rest
		}
	}
	return ""
}

func sameMacro(key []byte, name string) bool {
	if n := len(key); n > 2 && key[0] == '{' && key[n-1] == '}' {
		key = key[1 : n-1]
	}
	if n := len(name); n > 2 && name[0] == '{' && name[n-1] == '}' {
		name = name[1 : n-1]
	}
	return string(key) == name
}
