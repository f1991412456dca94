package verdict_test

import (
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/verdict"
)

// TestOwnReply gives the directory's answer a reply of the operator's. It is used when it has the
// class that the rule has anyway, and never changes what becomes of the recipient.
func TestOwnReply(t *testing.T) {
	to, err := mail.ParseAddress("bob@example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		standing evidence.Standing
		own      mail.Reply
		want     string
	}{
		{evidence.Missing, mail.MustReply(550, "5.1.6", "Bob moved"), "550 5.1.6 <bob@example.com>: Bob moved"},
		{evidence.Missing, mail.Reply{}, "550 5.1.1 <bob@example.com>: Recipient address rejected: User unknown"},
		{evidence.Missing, mail.MustReply(450, "4.2.0", "Later"), "550 5.1.1 <bob@example.com>: Recipient address rejected: User unknown"},
		{evidence.Missing, mail.MustReply(250, "2.1.5", "Fine"), "550 5.1.1 <bob@example.com>: Recipient address rejected: User unknown"},
		{evidence.Unavailable, mail.MustReply(450, "4.2.0", "Later"), "450 4.2.0 <bob@example.com>: Later"},
		{evidence.Unavailable, mail.MustReply(550, "5.1.6", "Bob moved"), "451 4.1.1 <bob@example.com>: Recipient address not verified, try again later"},
		{evidence.Exists, mail.MustReply(550, "5.1.6", "Bob moved"), "250 2.1.5 Ok"},
	} {
		c := evidence.Case{
			Stage: evidence.StageRcpt, Door: evidence.DoorExplain, FromGiven: true, To: to, OurDomain: evidence.Yes,
			Directory: evidence.Directory{Standing: tt.standing, Source: "access:file", Reply: tt.own},
		}
		if got := (verdict.Rules{}).Decide(c).Reply.String(); got != tt.want {
			t.Errorf("%v with %q: %q, want %q", tt.standing, tt.own, got, tt.want)
		}
	}
}
