package demo

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// small is a flood against what listens at addr.
func small(s *MailServer, addr string) *Flood {
	return &Flood{
		Dial: func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		},
		Server: s, Forged: 40, Good: 7, Senders: 5,
	}
}

func TestAServerThatKnowsItsUsersBouncesNothing(t *testing.T) {
	s, addr := behind(t)
	var most atomic.Int64
	r, err := small(s, addr).Run(t.Context(), func(done, total int) {
		if total != 47 {
			t.Errorf("total %d", total)
		}
		for old := most.Load(); int64(done) > old && !most.CompareAndSwap(old, int64(done)); old = most.Load() {
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Took, r.CPU = 0, 0
	want := Result{Sent: 47, Forged: 40, Victims: 40, Refused: 40, Accepted: 7, Delivered: 7, WouldHaveBounced: 40}
	if r != want || most.Load() != 47 {
		t.Errorf("got  %+v\nwant %+v, progress %d", r, want, most.Load())
	}
}

// yes is a server that accepts everything and forgets it, as one does that looks later.
type yes struct{ smtp.Handler }

func (yes) Connect() mail.Reply                               { return mail.Reply{} }
func (yes) Helo(string, bool) mail.Reply                      { return mail.Reply{} }
func (yes) Mail(mail.ReversePath, smtp.MailParams) mail.Reply { return mail.Reply{} }
func (yes) Rcpt(mail.Address, smtp.RcptParams) mail.Reply     { return mail.Reply{} }
func (yes) Data() mail.Reply                                  { return mail.Reply{} }
func (yes) Reset()                                            {}
func (yes) Close()                                            {}
func (yes) Message(b *smtp.BodyReader) mail.Reply {
	if _, err := io.Copy(io.Discard, b); err != nil {
		return mail.MustReply(451, "4.3.0", "no")
	}
	return mail.MustReply(250, "2.0.0", "Ok")
}

func TestWhatIsAcceptedAndNotDeliveredIsCountedAsBounced(t *testing.T) {
	s, _ := behind(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := smtp.NewServer(smtp.ServerConfig{Hostname: "yes.example.com", NewHandler: func(*smtp.Conn) smtp.Handler { return yes{} }})
	go srv.Serve(l)
	defer srv.Shutdown(context.Background())
	r, err := small(s, l.Addr().String()).Run(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Bounced != 47 || r.Delivered != 0 || r.Accepted != 47 || r.WouldHaveBounced != 0 {
		t.Errorf("%+v", r)
	}
}

func TestAGatewayThatIsAwayDefers(t *testing.T) {
	s, _ := behind(t)
	f := small(s, "")
	f.Dial = func(context.Context) (net.Conn, error) { return nil, errors.New("connection refused") }
	if r, err := f.Run(t.Context(), nil); err != nil || r.Deferred != 47 || r.Bounced != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Run(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
