package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"backstop/internal/config"
	"backstop/internal/daemon"
	"backstop/internal/demo"
	"backstop/internal/evidence"
	"backstop/internal/journal"
)

const (
	demoDomain = "example.com"
	// floodForged and floodGood are the size of `demo --flood`: a few seconds' work.
	floodForged, floodGood = 3000, 150
	floodSenders           = 20
	// demoPatience is how long the demo waits for open connections at its end.
	demoPatience = 5 * time.Second
)

func (a *app) demo() *cobra.Command {
	var listen, dir string
	var flood bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Try everything on one machine, with no configuration",
		Long: "Runs a small mail server with the mailboxes alice, bob and postmaster@example.com,\n" +
			"and the gateway in front of it, and prints commands to try. Ends with Ctrl-C.\n\n" +
			"With --flood it also plays a short flood of spam with forged senders to unknown\n" +
			"users, with some good mail among it, prints what would have bounced and what did,\n" +
			"and ends.",
		Example: "  backstop demo\n  backstop demo --flood",
		Args:    wants(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			folder, temporary, err := demoFolder(dir)
			if err != nil {
				return err
			}
			if temporary && flood {
				defer os.RemoveAll(folder)
			}
			s, err := a.startStage(c.Context(), listen, folder, flood)
			if err != nil {
				if temporary {
					os.RemoveAll(folder)
				}
				return err
			}
			if flood {
				err = a.playFlood(c.Context(), s)
			} else {
				a.tryThis(s)
				notify(slog.New(slog.DiscardHandler), systemd.SdNotifyReady)
				<-c.Context().Done()
			}
			return errors.Join(err, s.strike())
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:2525", "where the gateway listens, `HOST:PORT`")
	c.Flags().StringVar(&dir, "dir", "", "keep mailboxes and state in `DIR` (default: a new temporary folder)")
	c.Flags().BoolVar(&flood, "flood", false, "play a flood of backscatter, print what it came to, and end")
	return c
}

func demoFolder(dir string) (path string, temporary bool, err error) {
	if dir == "" {
		path, err = os.MkdirTemp("", "backstop-demo-")
		return path, true, err
	}
	path, err = filepath.Abs(dir)
	return path, false, err
}

// stage is the demo's two servers.
type stage struct {
	mailboxes *demo.MailServer
	gateway   *daemon.Daemon
	log       *journal.Journal // nil for the flood
	addr      string           // the gateway's
	dir       string
}

func (s *stage) mailboxDir() string { return filepath.Join(s.dir, "mailboxes") }
func (s *stage) stateDir() string   { return filepath.Join(s.dir, "state") }

// startStage starts the mail server and the gateway before it.
func (a *app) startStage(ctx context.Context, listen, dir string, quiet bool) (*stage, error) {
	s := &stage{dir: dir}
	var err error
	if s.mailboxes, err = demo.NewMailServer(s.mailboxDir(), demoDomain, "alice", "bob", "postmaster"); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go s.mailboxes.Serve(l) // its end is strike's, and an earlier one shows in the gateway's answers
	if err := a.startGateway(ctx, s, listen, l.Addr().String(), quiet); err != nil {
		return nil, errors.Join(demoPortHint(err, listen), s.strike())
	}
	return s, nil
}

func (a *app) startGateway(ctx context.Context, s *stage, listen, behind string, quiet bool) error {
	relay := fmt.Sprintf("%s=smtp://%s?tls=off", demoDomain, behind)
	cfg, err := config.FromFlags([]string{listen}, []string{relay}, s.stateDir())
	if err != nil {
		return err
	}
	for i := range cfg.Domains { // it shows recipients, and is whole without a network
		cfg.Domains[i].Guards.SPF, cfg.Domains[i].Guards.DMARC = evidence.CheckOff, evidence.CheckOff
	}
	opts := daemon.Options{}
	if !quiet {
		s.log = journal.New(a.err, journal.Text)
		opts.Journal = s.log
	}
	gateway, err := daemon.New(cfg, opts)
	if err != nil {
		return err
	}
	if err := gateway.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	s.gateway = gateway
	s.addr = gateway.Addrs()["smtp"][0].String()
	return nil
}

// demoPortHint says what to do when the gateway's port is taken.
func demoPortHint(err error, listen string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return hint("choose another with --listen 127.0.0.1:2526", "something else listens on %s already", listen)
	}
	return err
}

// strike stops both servers, the gateway first.
func (s *stage) strike() error {
	ctx, cancel := context.WithTimeout(context.Background(), demoPatience)
	defer cancel()
	var err error
	if s.gateway != nil {
		err = s.gateway.Stop(ctx)
	}
	err = errors.Join(err, s.mailboxes.Shutdown(ctx))
	if s.log != nil {
		s.log.Close()
	}
	return err
}

// tryThis prints what somebody can do now, and what he will see.
func (a *app) tryThis(s *stage) {
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil { // a listener's own address
		host, port = s.addr, ""
	}
	a.printf(`The gateway listens on %[1]s. Behind it is a mail server that knows
alice, bob and postmaster@%[2]s, and nobody else.

Mailboxes: %[3]s/{alice,bob,postmaster}

Try, in another terminal:

  a user who exists: the mailbox's own 250 comes through, and the mail is in it
    swaks --server %[1]s --from you@example.org --to alice@%[2]s
    -> 250 2.0.0 Ok: taken by the mail server of the recipient

  nobody: refused in the same conversation, so that nobody ever has to bounce it
    swaks --server %[1]s --from you@example.org --to nobody@%[2]s
    -> 550 5.1.1 <nobody@%[2]s>: Recipient address rejected: User unknown

  somebody else's domain: this is no open relay
    swaks --server %[1]s --from you@example.org --to someone@example.net
    -> 554 5.7.1 <someone@example.net>: Relay access denied

  nobody again, with bash alone
    (exec 3<>/dev/tcp/%[4]s/%[5]s; sleep 1; printf 'EHLO me\r\nMAIL FROM:<you@example.org>\r\nRCPT TO:<nobody@%[2]s>\r\nQUIT\r\n' >&3; cat <&3)

  how the gateway is, and a flood of forged mail
    %[7]s status --state %[6]s
    %[7]s demo --flood --listen 127.0.0.1:0

Each decision is printed here. Ctrl-C ends the demo.

`, s.addr, demoDomain, s.mailboxDir(), host, port, s.stateDir(), programName())
}

// playFlood plays the flood and prints its little table.
func (a *app) playFlood(ctx context.Context, s *stage) error {
	f := demo.Flood{
		Dial: func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", s.addr)
		},
		Server: s.mailboxes, Forged: floodForged, Good: floodGood, Senders: floodSenders,
	}
	var done atomic.Int64
	stop := progress(a.err, "messages", func() (int, int) { return int(done.Load()), floodForged + floodGood })
	r, err := f.Run(ctx, func(n, _ int) { done.Store(int64(n)) })
	stop()
	if err != nil {
		return err
	}
	if r.Bounced != 0 || r.Deferred != 0 || r.Delivered != floodGood {
		a.code = 1
	}
	return a.printFlood(r)
}

// floodJSON is what `demo --flood --json` prints.
type floodJSON struct {
	demo.Result
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds"`
}

func (a *app) printFlood(r demo.Result) error {
	if a.json {
		return a.printJSON(floodJSON{r, r.Took.Seconds(), r.CPU.Seconds()})
	}
	t := a.table()
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 2, Align: text.AlignRight}})
	row := func(what string, n any, about string) { t.AppendRow(table.Row{what, n, about}) }
	row("sent", r.Sent, fmt.Sprintf("messages: %d with senders forged from %d domains, %d good", r.Forged, r.Victims, r.Sent-r.Forged))
	row("refused at RCPT", r.Refused, "unknown users, told while the sender was still there")
	row("delivered", r.Delivered, "good messages, whole in their mailboxes")
	if r.Deferred > 0 {
		row("deferred", r.Deferred, "answered 4xx or cut off: this should not be")
	}
	row("would have bounced", r.WouldHaveBounced, "without the gateway, to people who never wrote")
	row("did bounce", r.Bounced, "accepted, and in no mailbox")
	row("time", r.Took.Round(time.Millisecond), fmt.Sprintf("%.0f messages a second", float64(r.Sent)/r.Took.Seconds()))
	row("CPU", r.CPU.Round(time.Millisecond), fmt.Sprintf("%d us a message, for sender, gateway and mail server together", r.CPU.Microseconds()/int64(r.Sent)))
	a.printTable(t)
	return nil
}

// programName is how this program was called, so that what is printed can be typed.
func programName() string {
	if len(os.Args) > 0 && os.Args[0] != "" {
		return os.Args[0]
	}
	return "backstop"
}
