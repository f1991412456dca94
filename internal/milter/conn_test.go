package milter_test

import (
	"net/netip"
	"reflect"
	"testing"

	"backstop/internal/mail"
	"backstop/internal/milter"
)

func TestOneMessage(t *testing.T) {
	r := &recorder{say: map[string]milter.Response{
		"rcpt <gone%elsewhere@example.com>": {Action: milter.Reply, Reply: mail.MustReply(550, "5.1.1", "No such user").About("gone%elsewhere@example.com")},
		"message": {Action: milter.Continue, Changes: &milter.Changes{
			From:       &milter.Sender{Address: "prvs=1=ann@example.org", Args: "SIZE=10"},
			DeleteRcpt: []string{"bob@example.com"},
			AddRcpt:    []milter.Rcpt{{Address: "a@example.com"}, {Address: "b@example.com", Args: "NOTIFY=NEVER"}},
			Edit:       []milter.HeaderEdit{{Name: "X", Nth: 1, Delete: true}, {Name: "X", Nth: 3, Value: " v"}},
			Insert:     []milter.Header{{Name: "One", Value: " 1"}, {Name: "Two", Value: " 2\r\n\tfold"}},
			Add:        []milter.Header{{Name: "Last", Value: " 9"}},
			Quarantine: "odd",
		}},
	}}
	mta := start(t, r, milter.Config{Actions: everything, Steps: milter.NRHeader | milter.NREOH | milter.Skip | milter.HeaderLeadSpace}, milter.Offer{})
	ok := must(t)
	ok(mta.Connect(milter.Client{Name: "mx.example.net", Family: '4', Addr: netip.MustParseAddr("192.0.2.1"), Port: 4711}))
	ok(mta.Helo("mx.example.net"))
	ok(mta.Mail("ann@example.org", "SIZE=10", "BODY=8BITMIME"))
	ok(mta.Rcpt("bob@example.com"))
	a := ok(mta.Rcpt("gone%elsewhere@example.com"))
	if want := "550 5.1.1 <gone%elsewhere@example.com>: No such user"; a.Action != milter.Reply || a.Text != want || a.Code() != 550 {
		t.Errorf("%+v, want %q", a, want)
	}
	ok(mta.Data())
	ok(mta.Header("From", " ann@example.org"))
	ok(mta.Header("Subject", " a\n b"))
	ok(mta.EOH())
	ok(mta.Body([]byte("text\r\n")))
	a = ok(mta.EndOfBody())
	want := []milter.Change{
		{Kind: 'e', Name: "<prvs=1=ann@example.org>", Value: "SIZE=10"},
		{Kind: '-', Name: "<bob@example.com>"},
		{Kind: '+', Name: "<a@example.com>"},
		{Kind: '2', Name: "<b@example.com>", Value: "NOTIFY=NEVER"},
		{Kind: 'm', Index: 3, Name: "X", Value: " v"},
		{Kind: 'm', Index: 1, Name: "X"},
		{Kind: 'i', Name: "Two", Value: " 2\n\tfold"},
		{Kind: 'i', Name: "One", Value: " 1"},
		{Kind: 'h', Name: "Last", Value: " 9"},
		{Kind: 'q', Name: "odd"},
	}
	if a.Action != milter.Continue || !reflect.DeepEqual(a.Changes, want) {
		t.Errorf("%+v\nwant %+v", a.Changes, want)
	}
	if err := mta.Quit(); err != nil {
		t.Fatal(err)
	}
	<-r.done
	wantLog(t, r,
		"connect mx.example.net 4 192.0.2.1:4711", "helo mx.example.net", "mail <ann@example.org> SIZE=10 BODY=8BITMIME",
		"rcpt <bob@example.com>", "rcpt <gone%elsewhere@example.com>", "data",
		"message From: ann@example.org\r\nSubject: a\r\n b\r\n\r\ntext\r\n", "abort", "close")
}

func TestNegotiation(t *testing.T) {
	for _, tc := range []struct {
		name    string
		offer   milter.Offer
		macros  map[milter.Stage]string
		version uint32
		actions milter.ActionMask
		steps   milter.StepMask
		symbols map[milter.Stage]string
	}{
		{name: "all of it", version: 6, actions: everything, steps: usual},
		{name: "macros asked for", macros: map[milter.Stage]string{milter.StageRcpt: "{rcpt_addr}", milter.StageConnect: "j {daemon_name}", milter.StageHelo: ""},
			version: 6, actions: everything | milter.SetMacros, steps: usual,
			symbols: map[milter.Stage]string{milter.StageRcpt: "{rcpt_addr}", milter.StageConnect: "j {daemon_name}", milter.StageHelo: ""}},
		{name: "macros not to be asked for", offer: milter.Offer{Actions: everything}, macros: map[milter.Stage]string{milter.StageRcpt: "i"},
			version: 6, actions: everything, steps: usual},
		{name: "a later version, larger chunks", offer: milter.Offer{Version: 7, Actions: 0xffffffff, Steps: 0xffffffff}, version: 6, actions: everything, steps: usual},
		{name: "version 2 as Sendmail 8.12", offer: milter.Offer{Version: 2, Actions: 0x1f, Steps: 0x7f}, version: 2, actions: 0x1f},
		{name: "version 3", offer: milter.Offer{Version: 3, Actions: 0x3f, Steps: 0x1ff}, version: 3, actions: 0x3f, steps: milter.NRHeader},
		{name: "version 4", offer: milter.Offer{Version: 4, Actions: 0x3f, Steps: 0x3ff}, version: 4, actions: 0x3f, steps: milter.NRHeader},
		{name: "little", offer: milter.Offer{Actions: milter.AddHeader, Steps: milter.Skip}, version: 6, actions: milter.AddHeader, steps: milter.Skip},
		{name: "MAIL is always told", offer: milter.Offer{Steps: milter.NoMail | milter.NoConnect | milter.NoData}, version: 6, actions: everything, steps: milter.NoData},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &recorder{}
			cfg := milter.Config{Actions: everything, Steps: usual, Macros: tc.macros}
			if tc.steps == milter.NoData {
				cfg.Steps |= milter.NoMail | milter.NoConnect | milter.NoData
			}
			mta := start(t, r, cfg, tc.offer)
			if mta.Version() != tc.version || mta.Actions() != tc.actions || mta.Steps() != tc.steps {
				t.Errorf("version %d, actions %#x, steps %#x", mta.Version(), mta.Actions(), mta.Steps())
			}
			if len(mta.Symbols())+len(tc.symbols) > 0 && !reflect.DeepEqual(mta.Symbols(), tc.symbols) {
				t.Errorf("symbols %v", mta.Symbols())
			}
			open(t, mta)
			if r.c.Version() != tc.version || !r.c.Can(tc.actions) || !r.c.Does(tc.steps) || r.c.Can(tc.actions|1<<20) || r.c.RemoteAddr() == nil {
				t.Errorf("the handler is told version %d", r.c.Version())
			}
			over(t, r, mta)
		})
	}
}

// TestUngranted holds that what the MTA did not grant is not sent: the MTA of the tests would object.
func TestUngranted(t *testing.T) {
	all := &milter.Changes{
		From: &milter.Sender{}, DeleteRcpt: []string{"a@example.com"}, AddRcpt: []milter.Rcpt{{Address: "b@example.com", Args: "NOTIFY=NEVER"}},
		Edit: []milter.HeaderEdit{{Name: "X", Nth: 1}}, Insert: []milter.Header{{Name: "Y", Value: " 1"}}, Add: []milter.Header{{Name: "Z", Value: " 2"}}, Quarantine: "q",
	}
	for _, tc := range []struct {
		granted milter.ActionMask
		want    []milter.Change
	}{
		{milter.ChangeBody, nil},
		{milter.ChangeFrom, []milter.Change{{Kind: 'e', Name: "<>"}}},
		{milter.DeleteRcpt, []milter.Change{{Kind: '-', Name: "<a@example.com>"}}},
		{milter.AddRcpt, []milter.Change{{Kind: '+', Name: "<b@example.com>"}}}, // it matters more than its arguments
		{milter.AddRcptArgs, []milter.Change{{Kind: '2', Name: "<b@example.com>", Value: "NOTIFY=NEVER"}}},
		{milter.ChangeHeader, []milter.Change{{Kind: 'm', Index: 1, Name: "X", Value: " "}}}, // empty, and not deleted
		{milter.AddHeader, []milter.Change{{Kind: 'i', Name: "Y", Value: "1"}, {Kind: 'h', Name: "Z", Value: "2"}}},
		{milter.Quarantine, []milter.Change{{Kind: 'q', Name: "q"}}},
	} {
		r := &recorder{say: map[string]milter.Response{"message": {Action: milter.Accept, Changes: all}}}
		mta := start(t, r, milter.Config{Actions: everything}, milter.Offer{Actions: tc.granted})
		open(t, mta)
		if a := must(t)(mta.EndOfBody()); a.Action != milter.Accept || !reflect.DeepEqual(a.Changes, tc.want) {
			t.Errorf("granted %#x: %+v, want %+v", tc.granted, a, tc.want)
		}
		over(t, r, mta)
	}
}

// TestOlder: an MTA of before version 4 has no DATA, and a refusal there is said at the first part of the message.
func TestOlder(t *testing.T) {
	r := &recorder{}
	mta := start(t, r, milter.Config{Actions: everything, Steps: usual}, milter.Offer{Version: 2, Actions: 0x1f, Steps: 0x7f})
	ok := must(t)
	open(t, mta)
	ok(mta.Data())
	ok(mta.Unknown("FROB"))
	ok(mta.Header("Subject", " one"))
	ok(mta.EOH())
	ok(mta.Body([]byte("text\r\n")))
	ok(mta.EndOfBody())
	over(t, r, mta)
	wantLog(t, r, "connect mx.example.net 4 192.0.2.1:25", "helo mx.example.net", "mail <ann@example.org>", "rcpt <bob@example.com>",
		"data", "message Subject: one\r\n\r\ntext\r\n", "abort", "close")

	r = &recorder{say: map[string]milter.Response{"data": {Action: milter.Reject}}}
	mta = start(t, r, milter.Config{}, milter.Offer{Version: 3})
	open(t, mta)
	ok(mta.Data())
	if a := ok(mta.Header("Subject", " two")); a.Action != milter.Reject {
		t.Errorf("%+v", a)
	}
	over(t, r, mta)
	wantLog(t, r, "connect mx.example.net 4 192.0.2.1:25", "helo mx.example.net", "mail <ann@example.org>", "rcpt <bob@example.com>", "data", "abort", "close")
}

// TestUnanswered: an event without an answer cannot be refused, but what Data says is kept.
func TestUnanswered(t *testing.T) {
	r := &recorder{say: map[string]milter.Response{}}
	for _, e := range []string{"connect", "helo", "mail", "rcpt", "data", "unknown"} {
		r.say[e] = milter.Response{Action: milter.Reject}
	}
	none := milter.NRConnect | milter.NRHelo | milter.NRMail | milter.NRRcpt | milter.NRData | milter.NRUnknown | milter.NRHeader | milter.NREOH | milter.NRBody
	mta := start(t, r, milter.Config{Steps: none}, milter.Offer{})
	ok := must(t)
	open(t, mta)
	ok(mta.Unknown("FROB"))
	ok(mta.Data())
	ok(mta.Header("A", "b"))
	ok(mta.EOH())
	ok(mta.Body([]byte("text")))
	if a := ok(mta.EndOfBody()); a.Action != milter.Reject {
		t.Errorf("%+v", a)
	}
	over(t, r, mta)
	wantLog(t, r, "connect mx.example.net 4 192.0.2.1:25", "helo mx.example.net", "mail <ann@example.org>", "rcpt <bob@example.com>", "unknown FROB", "data", "abort", "close")
}

func TestSeveral(t *testing.T) {
	r := &recorder{say: map[string]milter.Response{
		"mail <refused@example.org>":  {Action: milter.TempFail},
		"mail <trusted@example.org>":  {Action: milter.Accept},
		"rcpt <refused@example.com>":  {Action: milter.Reject},
		"rcpt <discard@example.com>":  {Action: milter.Discard},
		"unknown FROB":                {Action: milter.Reply, Reply: mail.MustReply(500, "5.5.1", "No")},
		"message Subject: x\r\n\r\n1": {Action: milter.Accept},
	}}
	mta := start(t, r, milter.Config{Steps: milter.HeaderLeadSpace}, milter.Offer{})
	ok := must(t)
	says := func(want milter.Action) func(milter.Answer, error) {
		return func(a milter.Answer, err error) {
			t.Helper()
			if ok(a, err).Action != want {
				t.Errorf("%+v, want action %d", a, want)
			}
		}
	}
	mta.Abort() // at any time
	ok(mta.Connect(client))
	mta.Abort()
	ok(mta.Helo("one"))
	says(milter.TempFail)(mta.Mail("refused@example.org"))
	says(milter.Accept)(mta.Mail("trusted@example.org"))
	mta.Abort()
	mta.Abort()
	says(milter.Continue)(mta.Mail("a@example.org"))
	says(milter.Continue)(mta.Mail("b@example.org")) // which ends the one before
	says(milter.Reject)(mta.Rcpt("refused@example.com"))
	says(milter.Reply)(mta.Unknown("FROB"))
	says(milter.Continue)(mta.Rcpt("bob@example.com", "NOTIFY=NEVER"))
	says(milter.Continue)(mta.Helo("two")) // as well
	says(milter.Continue)(mta.Mail("c@example.org"))
	says(milter.Discard)(mta.Rcpt("discard@example.com"))
	says(milter.Continue)(mta.Mail("d@example.org"))
	says(milter.Continue)(mta.Rcpt("bob@example.com"))
	says(milter.Continue)(mta.Data())
	says(milter.Continue)(mta.Header("Subject", " x"))
	says(milter.Continue)(mta.EOH())
	says(milter.Continue)(mta.Body([]byte("1")))
	says(milter.Accept)(mta.EndOfBody())
	mta.Abort()
	says(milter.Continue)(mta.Mail("e@example.org"))
	if err := mta.QuitNC(); err != nil {
		t.Fatal(err)
	}
	says(milter.Continue)(mta.Connect(milter.Client{Name: "two.example.net", Family: 'U'}))
	if err := mta.QuitNC(); err != nil {
		t.Fatal(err)
	}
	over(t, r, mta)
	wantLog(t, r, "connect mx.example.net 4 192.0.2.1:25", "helo one",
		"mail <refused@example.org>", "abort", "mail <trusted@example.org>", "abort",
		"mail <a@example.org>", "abort", "mail <b@example.org>", "rcpt <refused@example.com>", "unknown FROB", "rcpt <bob@example.com> NOTIFY=NEVER",
		"abort", "helo two", "mail <c@example.org>", "rcpt <discard@example.com>", "abort",
		"mail <d@example.org>", "rcpt <bob@example.com>", "data", "message Subject: x\r\n\r\n1", "abort",
		"mail <e@example.org>", "abort", "close", "connect two.example.net U ", "close")
}

func TestReplies(t *testing.T) {
	id := mail.NewID()
	for _, tc := range []struct {
		r    milter.Response
		want milter.Answer
	}{
		{milter.Response{}, milter.Answer{}},
		{milter.Response{Action: milter.Reject}, milter.Answer{Action: milter.Reject}},
		{milter.Response{Action: milter.Reply, Reply: mail.MustReply(550, "", "No")}, milter.Answer{Action: milter.Reply, Text: "550 No"}},
		{milter.Response{Action: milter.Reply, Reply: mail.MustReply(451, "4.3.0", "one\n100%\n%s%%").WithID(id)},
			milter.Answer{Action: milter.Reply, Text: "451-4.3.0 one\r\n451-4.3.0 100%\r\n451 4.3.0 %s%% [" + id.String() + "]"}},
		// What is no refusal is not made one for ever.
		{milter.Response{Action: milter.Reply}, milter.Answer{Action: milter.TempFail}},
		{milter.Response{Action: milter.Reply, Reply: mail.MustReply(250, "2.0.0", "Fine")}, milter.Answer{Action: milter.TempFail}},
		{milter.Response{Action: 99}, milter.Answer{Action: milter.TempFail}},
		// Changes belong to the end of a message.
		{milter.Response{Changes: &milter.Changes{Quarantine: "q"}}, milter.Answer{}},
	} {
		r := &recorder{say: map[string]milter.Response{"helo": tc.r}}
		mta := start(t, r, milter.Config{Actions: everything}, milter.Offer{})
		must(t)(mta.Connect(client))
		if a := must(t)(mta.Helo("x")); !reflect.DeepEqual(a, tc.want) {
			t.Errorf("%+v: %+v, want %+v", tc.r, a, tc.want)
		}
		over(t, r, mta)
	}
}
