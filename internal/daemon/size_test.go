package daemon_test

import (
	"fmt"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// TestMessageSize: a message of exactly max_message_size passes, one octet more is
// 552, declared or not, in DATA or in chunks. What dot-stuffing adds does not count (RFC 1870, 5).
func TestMessageSize(t *testing.T) {
	const limit = 256 << 10
	m := mailtest.NewMock(t, mailtest.Script{})
	g := start(t, relayTo("smtp://"+m.Addr(), `max_message_size = "256KB"`, ""))
	for _, size := range []int{limit, limit + 1} {
		body := string(mailtest.Generate(uint64(size), size, mailtest.Plain))
		want := "250"
		if size > limit {
			want = "552 5.3.4"
		}
		for how, turns := range map[string][]string{
			"undeclared": {"MAIL FROM:<ann@sender.example>", "250", "RCPT TO:<alice@example.com>", "250",
				"DATA", "354", strings.ReplaceAll(body, "\r\n.", "\r\n..") + ".", want},
			"declared": {fmt.Sprintf("MAIL FROM:<ann@sender.example> SIZE=%d", size), want},
			"declared too small": {"MAIL FROM:<ann@sender.example> SIZE=99", "250", "RCPT TO:<alice@example.com>", "250",
				"DATA", "354", strings.ReplaceAll(body, "\r\n.", "\r\n..") + ".", want},
			"chunk": {"MAIL FROM:<ann@sender.example>", "250", "RCPT TO:<alice@example.com>", "250",
				fmt.Sprintf("BDAT %d LAST\r\n%s", size, strings.TrimSuffix(body, "\r\n")), want},
		} {
			t.Run(fmt.Sprint(size, " ", how), func(t *testing.T) {
				m.Forget()
				say(t, open(t, g.addr), turns...)
				held := m.Messages()
				switch {
				case how == "declared":
				case want == "250" && (len(held) != 1 || !strings.HasSuffix(string(held[0].Body), body)):
					t.Errorf("%d messages, or not what was sent", len(held))
				case want != "250" && len(held) != 0:
					t.Errorf("the downstream holds %d messages", len(held))
				}
			})
		}
	}
}
