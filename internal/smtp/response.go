package smtp

import (
	"bufio"
	"errors"
	"strings"

	"backstop/internal/mail"
)

// Response is what a server answered to one command.
type Response struct {
	Code   int
	Status mail.Status // zero where the server gave none (RFC 2034)
	Lines  []string    // without code; the enhanced status is still in them
}

// Class is the first digit of the code.
func (r *Response) Class() int { return r.Code / 100 }

// maxText bounds what is kept of a server's words, in octets.
const maxText = 500

// Text is the answer's text on one line, without the enhanced status, cut at 500 octets.
func (r *Response) Text() string {
	if len(r.Lines) == 1 && len(r.Lines[0]) <= maxText {
		return r.withoutStatus(r.Lines[0])
	}
	var b strings.Builder
	for i, line := range r.Lines {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(r.withoutStatus(line))
		if b.Len() > maxText {
			return b.String()[:maxText]
		}
	}
	return b.String()
}

func (r *Response) withoutStatus(line string) string {
	if r.Status.IsZero() {
		return line
	}
	word, rest, _ := strings.Cut(line, " ")
	if s, err := mail.ParseStatus(word); err == nil && s == r.Status {
		return rest
	}
	return line
}

// What a hostile server may send before it is hung up on.
const (
	maxResponseLine  = 2048
	maxResponseLines = 100
)

var (
	errResponseLong  = errors.New("the server's answer is longer than any answer")
	errResponseForm  = errors.New("the server's answer is not SMTP")
	errResponseMixed = errors.New("the lines of the server's answer have different codes")
)

// readResponse reads one answer, of any number of lines (RFC 5321, 4.2.1).
func readResponse(r *bufio.Reader) (Response, error) {
	var resp Response
	for range maxResponseLines {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return Response{}, errResponseLong
		}
		if err != nil {
			return Response{}, err
		}
		code, more, text, ok := parseResponseLine(line)
		if !ok {
			return Response{}, errResponseForm
		}
		if resp.Code != 0 && resp.Code != code {
			return Response{}, errResponseMixed
		}
		resp.Code = code
		resp.Lines = append(resp.Lines, string(text))
		if !more {
			resp.Status = statusOf(code, resp.Lines[0])
			return resp, nil
		}
	}
	return Response{}, errResponseLong
}

func parseResponseLine(line []byte) (code int, more bool, text []byte, ok bool) {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, false, nil, false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false, nil, false
		}
		code = code*10 + int(c-'0')
	}
	if len(line) == 3 {
		return code, false, nil, true
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, false, nil, false
	}
	return code, line[3] == '-', line[4:], true
}

// statusOf finds the enhanced status at the head of a line (RFC 2034, 4). One that
// disagrees with the code is no status.
func statusOf(code int, line string) mail.Status {
	if len(line) < 5 || line[1] != '.' || int(line[0]-'0') != code/100 {
		return mail.Status{}
	}
	subject, rest := upTo999(line[2:])
	if rest == "" || len(rest) == len(line)-2 || rest[0] != '.' {
		return mail.Status{}
	}
	detail, end := upTo999(rest[1:])
	if len(end) == len(rest)-1 || end != "" && end[0] != ' ' {
		return mail.Status{}
	}
	return mail.Status{Class: uint16(code / 100), Subject: subject, Detail: detail}
}

// upTo999 reads one to three digits at the head of s (RFC 3463, 2); without any, rest is s.
func upTo999(s string) (n uint16, rest string) {
	i := 0
	for i < len(s) && i < 3 && '0' <= s[i] && s[i] <= '9' {
		n = n*10 + uint16(s[i]-'0')
		i++
	}
	return n, s[i:]
}
