package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"backstop/internal/config"
	"backstop/internal/daemon"
	"backstop/internal/journal"
)

// serveFlags are the flags with which no file is needed.
type serveFlags struct {
	listen, relays []string
	state          string
}

func (a *app) serve() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run every listener that the configuration names",
		Long: "Runs in the foreground. SIGHUP reads the configuration again (a broken one is\n" +
			"reported and leaves the old one running), SIGTERM and SIGINT drain: open messages\n" +
			"are finished, everybody else gets 421; a second signal ends at once.\n\n" +
			"With --listen and --relay no configuration file is needed.",
		Example: "  backstop serve --config /etc/backstop/backstop.toml\n" +
			"  backstop serve --listen :2525 --relay example.com=10.0.0.5:25 --state /var/lib/backstop",
		Args: wants(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			load, err := a.serveSource(c, f)
			if err != nil {
				return err
			}
			return a.runDaemon(c.Context(), load)
		},
	}
	c.Flags().StringArrayVar(&f.listen, "listen", nil, "take SMTP connections at `ADDRESS` (HOST:PORT, or :PORT for all); may be repeated")
	c.Flags().StringArrayVar(&f.relays, "relay", nil, "hand the mail of a domain on: `DOMAIN=HOST:PORT` or DOMAIN=URL; may be repeated")
	c.Flags().StringVar(&f.state, "state", "", "keep what must survive a restart in `DIR`")
	return c
}

// serveSource says where the configuration comes from: the flags, or the file.
func (a *app) serveSource(c *cobra.Command, f serveFlags) (func() (*config.Config, error), error) {
	if len(f.listen)+len(f.relays) == 0 && f.state == "" {
		return a.load, nil
	}
	if c.Flags().Changed("config") {
		return nil, hint("write listen, relay and state into the file", "--config and --listen, --relay, --state exclude each other")
	}
	if f.state != "" {
		dir, err := filepath.Abs(f.state) // its socket wants an absolute path
		if err != nil {
			return nil, err
		}
		f.state = dir
	}
	return func() (*config.Config, error) { return config.FromFlags(f.listen, f.relays, f.state) }, nil
}

// runDaemon runs until ctx ends.
func (a *app) runDaemon(ctx context.Context, load func() (*config.Config, error)) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // before anything else: a reload sent early must not kill us
	defer signal.Stop(hup)

	cfg, err := load()
	if err != nil {
		return err
	}
	lines := journal.New(a.err, logFormat(a.err))
	defer lines.Close()
	log := slog.New(lines.Handler())
	d, err := daemon.New(cfg, daemon.Options{Journal: lines})
	if err != nil {
		return err
	}
	if err := d.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	notify(log, systemd.SdNotifyReady)
	for {
		select {
		case <-hup:
			notify(log, systemd.SdNotifyReloading+"\n"+systemd.SdNotifyMonotonicUsec())
			reload(d, log, load)
			notify(log, systemd.SdNotifyReady)
		case <-ctx.Done():
			notify(log, systemd.SdNotifyStopping)
			return d.Stop(context.WithoutCancel(ctx))
		}
	}
}

// reload reads the configuration again; a broken one leaves the old one running.
func reload(d *daemon.Daemon, log *slog.Logger, load func() (*config.Config, error)) {
	cfg, err := load()
	if err == nil {
		err = d.Reload(cfg) // which says so in the log
	}
	if err == nil {
		return
	}
	const sorry = "the configuration was not reloaded, the old one goes on"
	var list *config.Errors
	if !errors.As(err, &list) {
		log.Error(sorry, "error", err.Error(), "hint", adviceOf(err))
		return
	}
	for _, p := range list.List {
		log.Error(sorry, "error", p.String(), "hint", p.Hint)
	}
}

// notify tells systemd, where there is one, how far we are.
func notify(log *slog.Logger, state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		log.Warn("systemd was not told", "state", state, "error", err)
	}
}

// logFormat is JSON for machines and short lines for people.
func logFormat(w any) journal.Format {
	if onTerminal(w) {
		return journal.Text
	}
	return journal.JSON
}
