package milter_test

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"backstop/internal/mail"
	"backstop/internal/milter"
)

// TestHeaders: values as octets, in both directions, where the blank behind the colon belongs to them and where not.
func TestHeaders(t *testing.T) {
	given := []milter.Header{{Name: "A", Value: " one"}, {Name: "B", Value: "two"}, {Name: "C", Value: ""}, {Name: "D", Value: "\ttab\n fold\n\tand more"}, {Name: "E", Value: "  two blanks\r\n crlf"}}
	changes := &milter.Changes{
		Edit:   []milter.HeaderEdit{{Name: "A", Nth: 2, Value: ""}, {Name: "A", Nth: 1, Value: " x\r\n y"}, {Name: "B", Nth: 1, Value: "none", Delete: true}},
		Insert: []milter.Header{{Name: "F\r\nEvil", Value: " v\r\nEvil: x\x00"}, {Name: "G", Value: "  two\r\n\tfold\nand no fold\r\n"}},
		Add:    []milter.Header{{Name: "H", Value: "\ttab"}},
	}
	for _, tc := range []struct {
		steps milter.StepMask
		read  string
		want  []milter.Change
	}{
		{0, "A: one\r\nB: two\r\nC: \r\nD: \ttab\r\n fold\r\n\tand more\r\nE:  two blanks\r\n crlf\r\n\r\n", []milter.Change{
			{Kind: 'm', Index: 2, Name: "A", Value: " "}, {Kind: 'm', Index: 1, Name: "A", Value: "x\n y"}, {Kind: 'm', Index: 1, Name: "B"},
			{Kind: 'i', Name: "G", Value: " two\n\tfold\n\tand no fold\n\t"}, {Kind: 'i', Name: "FEvil", Value: "v\n\tEvil: x"}, {Kind: 'h', Name: "H", Value: "\ttab"}}},
		{milter.HeaderLeadSpace, "A: one\r\nB:two\r\nC:\r\nD:\ttab\r\n fold\r\n\tand more\r\nE:  two blanks\r\n crlf\r\n\r\n", []milter.Change{
			{Kind: 'm', Index: 2, Name: "A", Value: "  "}, {Kind: 'm', Index: 1, Name: "A", Value: " x\n y"}, {Kind: 'm', Index: 1, Name: "B"},
			{Kind: 'i', Name: "G", Value: "  two\n\tfold\n\tand no fold\n\t"}, {Kind: 'i', Name: "FEvil", Value: " v\n\tEvil: x"}, {Kind: 'h', Name: "H", Value: "\ttab"}}},
	} {
		r := &recorder{say: map[string]milter.Response{"message": {Changes: changes}}}
		mta := start(t, r, milter.Config{Actions: everything, Steps: tc.steps}, milter.Offer{})
		ok := must(t)
		open(t, mta)
		for _, f := range given {
			ok(mta.Header(f.Name, f.Value))
		}
		ok(mta.EOH())
		if a := ok(mta.EndOfBody()); !reflect.DeepEqual(a.Changes, tc.want) {
			t.Errorf("%+v\nwant %+v", a.Changes, tc.want)
		}
		over(t, r, mta)
		if got := r.log[len(r.log)-3]; got != "message "+tc.read {
			t.Errorf("%q\nwant %q", got, tc.read)
		}
	}
}

// TestEdges: messages that lack a part.
func TestEdges(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 20_000)
	for _, tc := range []struct {
		name, want string
		send       func(*milter.MTA, func(milter.Answer, error) milter.Answer)
	}{
		{"nothing at all", "\r\n", func(*milter.MTA, func(milter.Answer, error) milter.Answer) {}},
		{"no end of the header", "A: b\r\n\r\ntext", func(m *milter.MTA, ok func(milter.Answer, error) milter.Answer) {
			ok(m.Header("A", " b"))
			ok(m.Body([]byte("text")))
		}},
		{"no header", "\r\ntext", func(m *milter.MTA, ok func(milter.Answer, error) milter.Answer) { ok(m.Body([]byte("text"))) }},
		{"no body", "A: b\r\n\r\n", func(m *milter.MTA, ok func(milter.Answer, error) milter.Answer) {
			ok(m.Header("A", " b"))
			ok(m.EOH())
		}},
		{"many chunks", "\r\n" + big, func(m *milter.MTA, ok func(milter.Answer, error) milter.Answer) {
			ok(m.EOH())
			ok(m.Body([]byte(big)))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &recorder{}
			mta := start(t, r, milter.Config{Steps: usual}, milter.Offer{})
			open(t, mta)
			tc.send(mta, must(t))
			must(t)(mta.EndOfBody())
			over(t, r, mta)
			if got := r.log[len(r.log)-3]; got != "message "+tc.want {
				t.Errorf("%.100q\nwant %.100q", got, "message "+tc.want)
			}
		})
	}
	t.Run("a body in the packet of the end", func(t *testing.T) {
		r := &recorder{}
		mta := start(t, r, milter.Config{}, milter.Offer{})
		open(t, mta)
		if err := mta.Raw('E', []byte("text")); err != nil {
			t.Fatal(err)
		}
		must(t)(mta.Answer('E'))
		over(t, r, mta)
		if got := r.log[len(r.log)-3]; got != "message \r\ntext" {
			t.Errorf("%q", got)
		}
	})
}

// TestEarly: a handler that does not read to the end.
func TestEarly(t *testing.T) {
	no := milter.Response{Action: milter.Reply, Reply: mail.MustReply(554, "5.7.1", "No")}
	changes := &milter.Changes{Quarantine: "q"}
	q := []milter.Change{{Kind: 'q', Name: "q"}}
	for _, tc := range []struct {
		name  string
		steps milter.StepMask
		say   milter.Response
		read  int    // octets that are read before it
		where string // what the answer came to; "skip" says that the body was skipped
		want  milter.Answer
	}{
		{"refused at once", 0, no, 0, "header", milter.Answer{Action: milter.Reply, Text: "554 5.7.1 No"}},
		{"header unanswered", milter.NRHeader, no, 0, "eoh", milter.Answer{Action: milter.Reply, Text: "554 5.7.1 No"}},
		{"header and its end unanswered", milter.NRHeader | milter.NREOH, no, 0, "body", milter.Answer{Action: milter.Reply, Text: "554 5.7.1 No"}},
		{"nothing answered", milter.NRHeader | milter.NREOH | milter.NRBody, no, 0, "end", milter.Answer{Action: milter.Reply, Text: "554 5.7.1 No"}},
		{"refused in the body", usual, no, 12, "body", milter.Answer{Action: milter.Reply, Text: "554 5.7.1 No"}},
		{"refused with changes", usual, milter.Response{Action: milter.Reject, Changes: changes}, 12, "body", milter.Answer{Action: milter.Reject}},
		{"taken", usual, milter.Response{Action: milter.Accept}, 0, "body", milter.Answer{Action: milter.Accept}},
		{"thrown away", 0, milter.Response{Action: milter.Discard}, 0, "header", milter.Answer{Action: milter.Discard}},
		{"taken with changes", usual, milter.Response{Action: milter.Accept, Changes: changes}, 12, "skip", milter.Answer{Action: milter.Accept, Changes: q}},
		{"changed", usual, milter.Response{Changes: changes}, 0, "skip", milter.Answer{Changes: q}},
		{"changed, no skip", usual &^ milter.Skip, milter.Response{Changes: changes}, 0, "end", milter.Answer{Changes: q}},
		{"changed, no answer to skip with", milter.NRBody | milter.Skip, milter.Response{Changes: changes}, 0, "end", milter.Answer{Changes: q}},
		{"nothing", 0, milter.Response{}, 0, "end", milter.Answer{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &recorder{message: func(m *milter.Message) milter.Response {
				if _, err := io.ReadFull(m, make([]byte, tc.read)); err != nil {
					t.Error(err)
				}
				if err := m.Progress(); err != nil { // before the end it is nothing
					t.Error(err)
				}
				return tc.say
			}}
			mta := start(t, r, milter.Config{Actions: everything, Steps: tc.steps}, milter.Offer{})
			ok := must(t)
			for range 2 { // the connection goes on
				if where, a := send(t, mta); where != tc.where || !reflect.DeepEqual(a, tc.want) {
					t.Errorf("at %s %+v, want at %s %+v", where, a, tc.where, tc.want)
				}
				if err := mta.Abort(); err != nil {
					t.Fatal(err)
				}
				mta.QuitNC()
			}
			ok(mta.Connect(client))
			over(t, r, mta)
		})
	}
}

// send sends a message until something is said of it, and tells where that was.
func send(t *testing.T, mta *milter.MTA) (string, milter.Answer) {
	t.Helper()
	ok := must(t)
	open(t, mta)
	ok(mta.Data())
	if a := ok(mta.Header("A", " b")); a.Action != milter.Continue {
		return "header", a
	}
	if a := ok(mta.EOH()); a.Action != milter.Continue {
		return "eoh", a
	}
	where := "end"
	for range 3 {
		a := ok(mta.Body([]byte("0123456789\r\n")))
		if a.Action != milter.Continue {
			return "body", a
		}
		if a.Skip {
			where = "skip"
		}
	}
	return where, ok(mta.EndOfBody())
}

// TestInterrupted: what ends a message before its end; nothing that its handler says is sent.
func TestInterrupted(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(*milter.MTA) error
		goes bool // the connection goes on
	}{
		{"abort", (*milter.MTA).Abort, true},
		{"quit, another client", (*milter.MTA).QuitNC, true},
		{"quit", (*milter.MTA).Quit, false},
		{"lost", (*milter.MTA).Close, false},
		{"a header field behind the header", func(m *milter.MTA) error { return m.Raw('L', []byte("A\x00b\x00")) }, false},
		{"a second end of the header", func(m *milter.MTA) error { return m.Raw('N', nil) }, false},
		{"MAIL", func(m *milter.MTA) error { return m.Raw('M', []byte("<>\x00")) }, false},
		{"broken macros", func(m *milter.MTA) error { return m.Raw('D', []byte("Ei\x00")) }, false},
		{"no command", func(m *milter.MTA) error { return m.Raw('x', nil) }, false},
	} {
		for _, early := range []bool{false, true} {
			name := tc.name
			if early {
				name += ", nobody reads"
			}
			t.Run(name, func(t *testing.T) {
				r := &recorder{message: func(m *milter.Message) milter.Response {
					say := milter.Response{Action: milter.Accept, Changes: &milter.Changes{Quarantine: "q"}}
					if early {
						return say
					}
					_, err := io.Copy(io.Discard, m)
					if !errors.Is(err, milter.ErrAborted) {
						t.Errorf("read: %v", err)
					}
					if _, again := m.Read(make([]byte, 1)); again != err {
						t.Errorf("read again: %v", again)
					}
					return say
				}}
				mta := start(t, r, milter.Config{Actions: everything, Steps: usual}, milter.Offer{})
				ok := must(t)
				open(t, mta)
				ok(mta.EOH())
				ok(mta.Body([]byte("text")))
				if err := tc.end(mta); err != nil {
					t.Fatal(err)
				}
				if tc.goes {
					mta.QuitNC()
					ok(mta.Connect(client))
					over(t, r, mta)
				} else {
					<-r.done
				}
				log := []string{"connect mx.example.net 4 192.0.2.1:25", "helo mx.example.net", "mail <ann@example.org>", "rcpt <bob@example.com>", "data", "message", "abort", "close"}
				if tc.goes {
					log = append(log, "connect mx.example.net 4 192.0.2.1:25", "close")
				}
				wantLog(t, r, log...)
			})
		}
	}
}
