package smtp_test

import (
	"strings"
	"testing"

	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// TestBareSender: a path without brackets is what it was with them.
func TestBareSender(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "ann@a.example": "ann@a.example", "Ann@A.example": "Ann@A.example", `"a > b"@a.example`: `"a > b"@a.example`,
		"@one.example,@two.example:ann@a.example": "ann@a.example", "root": "root", "jürgen@a.example": "jürgen@a.example",
	} {
		if from, r := smtp.ParseSender(text); !r.IsZero() || from.String() != want || from.IsNull() != (want == "") {
			t.Errorf("%q: %q, %v", text, from.String(), r)
		}
	}
	for _, text := range []string{"<ann@a.example>", "ann@a.example>", ">", "a b@a.example", "ann@", "@a.example", "ann@a.example> SIZE=10", "ann@a.example\r\n"} {
		if _, r := smtp.ParseSender(text); r.Code() != 501 || r.Status() != (mail.Status{Class: 5, Subject: 1, Detail: 7}) {
			t.Errorf("%q: %v", text, r)
		}
	}
}

func TestBareRecipient(t *testing.T) {
	if to, r := smtp.ParseRecipient("Bob@B.example"); !r.IsZero() || to.Key() != "bob@b.example" {
		t.Errorf("%q, %v", to.String(), r)
	}
	if to, r := smtp.ParseRecipient("postmaster"); !r.IsZero() || to.Domain() != "" {
		t.Errorf("%q, %v", to.String(), r)
	}
	for _, text := range []string{"", "bob@", "<bob@b.example>", "bob@b.example>x"} {
		if _, r := smtp.ParseRecipient(text); r.Code() != 501 || r.Status() != (mail.Status{Class: 5, Subject: 1, Detail: 3}) {
			t.Errorf("%q: %v", text, r)
		}
	}
}

// TestArgs: what another server let through without our knowing it changes nothing of the rest.
func TestArgs(t *testing.T) {
	got := smtp.ParseMailArgs([]string{"size=10", "X-OURS", "BODY=8bitmime", "RET=HDRS", "RET=FULL", "ENVID=", "REQUIRETLS", "SMTPUTF8", "AUTH=<>", "MT-PRIORITY=3", ""})
	if want := (smtp.MailParams{Size: 10, Body: smtp.Body8BitMIME, UTF8: true, Ret: "HDRS", Auth: "<>"}); got != want {
		t.Errorf("MAIL: %+v", got)
	}
	to := smtp.ParseRcptArgs([]string{"NOTIFY=success,failure", "ORCPT=rfc822;a@b", "ORCPT=rfc822;c@d", "NOTIFY=SOMETIMES", "HOLDFOR=1"})
	if want := (smtp.RcptParams{Notify: "SUCCESS,FAILURE", ORcpt: "rfc822;a@b"}); to != want {
		t.Errorf("RCPT: %+v", to)
	}
	if got := smtp.ParseMailArgs(nil); got != (smtp.MailParams{}) {
		t.Errorf("nothing: %+v", got)
	}
}

// FuzzBare: whatever another server hands on, what is taken for an address is one, and reads the same again.
func FuzzBare(f *testing.F) {
	f.Add("ann@a.example", "SIZE=10 BODY=8BITMIME")
	f.Add("", "NOTIFY=NEVER ORCPT=rfc822;a@b")
	f.Add("@one.example:ann@a.example", "RET=FULL ENVID=a+20b")
	f.Add(`"a>b"@a.example>`, "AUTH=<> REQUIRETLS =")
	f.Fuzz(func(t *testing.T, text, words string) {
		from, r := smtp.ParseSender(text)
		to, rr := smtp.ParseRecipient(text)
		if text != "" && r.IsZero() != rr.IsZero() || from.Address != to {
			t.Errorf("%q is %q to MAIL and %q to RCPT", text, from.String(), to.String())
		}
		if again, _ := smtp.ParseSender(from.String()); r.IsZero() && again != from {
			t.Errorf("%q is %q, and then %q", text, from.String(), again.String())
		}
		args := strings.Split(words, " ")
		if p := smtp.ParseMailArgs(args); p.Size < 0 || p.Ret != "" && p.Ret != "FULL" && p.Ret != "HDRS" || len(p.EnvID) > 100 {
			t.Errorf("%q: %+v", words, p)
		}
		if p := smtp.ParseRcptArgs(args); strings.ContainsAny(p.ORcpt+p.Notify, " \r\n") || len(p.ORcpt) > 500 {
			t.Errorf("%q: %+v", words, p)
		}
	})
}
