package milter_test

import (
	"reflect"
	"testing"

	"backstop/internal/milter"
)

// watch makes a recorder write down what macros it sees at each event.
func watch(r *recorder, names ...string) {
	r.see = func() string {
		s := ""
		for _, n := range names {
			s += " " + n + "=" + r.c.Macro(n)
		}
		return s
	}
}

func TestMacros(t *testing.T) {
	r := &recorder{}
	watch(r, "j", "i", "{auth_authen}", "rcpt_addr")
	mta := start(t, r, milter.Config{Steps: milter.NRHeader}, milter.Offer{})
	ok := must(t)
	mta.Macros(milter.StageConnect, "j", "mx.example.com", "{daemon_name}", "MTA")
	ok(mta.Connect(client))
	mta.Macros(milter.StageHelo)
	ok(mta.Helo("x"))
	mta.Macros(milter.StageMail, "i", "ID1", "{auth_authen}", "ann")
	ok(mta.Mail("ann@example.org"))
	mta.Macros(milter.StageRcpt, "{rcpt_addr}", "bob")
	ok(mta.Rcpt("bob@example.com"))
	mta.Macros(milter.StageRcpt, "{rcpt_addr}", "carol", "i", "ID2")
	ok(mta.Rcpt("carol@example.com"))
	mta.Macros(milter.StageRcpt) // replaces what the recipient before had
	ok(mta.Rcpt("dave@example.com"))
	mta.Macros(milter.StageData, "{i}", "ID3") // braces or not
	ok(mta.Data())
	if err := mta.Raw('D', []byte("Li\x00ID4\x00")); err != nil { // Postfix gives macros with header fields too
		t.Fatal(err)
	}
	ok(mta.Header("A", "b"))
	mta.Macros(milter.StageEOM, "i", "ID5")
	ok(mta.EndOfBody())
	ok(mta.Mail("b@example.org")) // no macros at all: those of the transaction before are gone
	mta.Abort()
	mta.Macros(milter.StageMail, "i", "ID6")
	ok(mta.Mail("c@example.org"))
	mta.Macros(milter.StageRcpt, "{rcpt_addr}", "bob")
	ok(mta.Rcpt("bob@example.com"))
	mta.Macros(milter.StageMail, "i", "ID7")
	ok(mta.Mail("d@example.org"))                               // without an ABORT: its own stay, the recipient's go
	if err := mta.Raw('D', []byte("Qi\x00x\x00")); err != nil { // of a command that has none
		t.Fatal(err)
	}
	mta.Macros(milter.StageHelo, "j", "other")
	ok(mta.Helo("y"))
	mta.QuitNC()
	ok(mta.Connect(client))
	over(t, r, mta)
	wantLog(t, r,
		"connect mx.example.net 4 192.0.2.1:25 j=mx.example.com i= {auth_authen}= rcpt_addr=",
		"helo x j=mx.example.com i= {auth_authen}= rcpt_addr=",
		"mail <ann@example.org> j=mx.example.com i=ID1 {auth_authen}=ann rcpt_addr=",
		"rcpt <bob@example.com> j=mx.example.com i=ID1 {auth_authen}=ann rcpt_addr=bob",
		"rcpt <carol@example.com> j=mx.example.com i=ID2 {auth_authen}=ann rcpt_addr=carol",
		"rcpt <dave@example.com> j=mx.example.com i=ID1 {auth_authen}=ann rcpt_addr=",
		"data j=mx.example.com i=ID3 {auth_authen}=ann rcpt_addr=",
		"message A: b\r\n\r\n j=mx.example.com i=ID5 {auth_authen}=ann rcpt_addr=",
		"abort j=mx.example.com i= {auth_authen}= rcpt_addr=",
		"mail <b@example.org> j=mx.example.com i= {auth_authen}= rcpt_addr=",
		"abort j=mx.example.com i= {auth_authen}= rcpt_addr=",
		"mail <c@example.org> j=mx.example.com i=ID6 {auth_authen}= rcpt_addr=",
		"rcpt <bob@example.com> j=mx.example.com i=ID6 {auth_authen}= rcpt_addr=bob",
		"abort j=mx.example.com i=ID7 {auth_authen}= rcpt_addr=",
		"mail <d@example.org> j=mx.example.com i=ID7 {auth_authen}= rcpt_addr=",
		"abort j=other i= {auth_authen}= rcpt_addr=",
		"helo y j=other i= {auth_authen}= rcpt_addr=",
		"close j= i= {auth_authen}= rcpt_addr=",
		"connect mx.example.net 4 192.0.2.1:25 j= i= {auth_authen}= rcpt_addr=",
		"close j= i= {auth_authen}= rcpt_addr=")
}

// TestMacrosOfRecipients: a recipient without macros has not those of the one before, and none of a stage that is yet to come.
func TestMacrosOfRecipients(t *testing.T) {
	r := &recorder{}
	watch(r, "i", "rcpt_addr")
	mta := start(t, r, milter.Config{}, milter.Offer{})
	ok := must(t)
	ok(mta.Connect(client))
	ok(mta.Helo("x"))
	mta.Macros(milter.StageMail, "i", "ID1")
	ok(mta.Mail("ann@example.org"))
	mta.Macros(milter.StageRcpt, "{rcpt_addr}", "bob", "i", "ID2")
	ok(mta.Rcpt("bob@example.com"))
	ok(mta.Rcpt("carol@example.com"))
	mta.Macros(milter.StageData, "i", "ID3")
	ok(mta.Rcpt("dave@example.com"))
	mta.Macros(milter.StageRcpt, "{rcpt_addr}", "erin")
	ok(mta.Rcpt("erin@example.com"))
	ok(mta.Data())
	over(t, r, mta)
	wantLog(t, r,
		"connect mx.example.net 4 192.0.2.1:25 i= rcpt_addr=", "helo x i= rcpt_addr=",
		"mail <ann@example.org> i=ID1 rcpt_addr=",
		"rcpt <bob@example.com> i=ID2 rcpt_addr=bob",
		"rcpt <carol@example.com> i=ID1 rcpt_addr=",
		"rcpt <dave@example.com> i=ID1 rcpt_addr=",
		"rcpt <erin@example.com> i=ID1 rcpt_addr=erin",
		"data i=ID1 rcpt_addr=",
		"abort i=ID1 rcpt_addr=", "close i=ID1 rcpt_addr=")
}

// TestMacrosAskedFor: the MTA sends what it was asked for, by stage.
func TestMacrosAskedFor(t *testing.T) {
	r := &recorder{}
	mta := start(t, r, milter.Config{Macros: map[milter.Stage]string{milter.StageConnect: "j", milter.StageHelo: ""}}, milter.Offer{})
	mta.Macros(milter.StageConnect, "j", "1", "_", "2")
	must(t)(mta.Connect(client))
	mta.Macros(milter.StageHelo, "i", "3")
	must(t)(mta.Helo("x"))
	mta.Macros(milter.StageMail, "{mail_addr}", "4")
	must(t)(mta.Mail(""))
	got := []string{r.c.Macro("j"), r.c.Macro("_"), r.c.Macro("i"), r.c.Macro("mail_addr")}
	if want := []string{"1", "", "", "4"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	over(t, r, mta)
}
