package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"backstop/internal/config"
	"backstop/internal/daemon"
)

// controlTimeout bounds one question to the running daemon, which answers from memory.
const controlTimeout = 10 * time.Second

// errNoDaemon: nobody answers on the socket.
var errNoDaemon = errors.New("no daemon is running")

// control asks the running daemon through the socket in its state folder.
type control struct {
	state  string // the folder
	client http.Client
}

// stateFlag adds --state to a command that talks to the running daemon.
func stateFlag(c *cobra.Command, state *string) {
	c.Flags().StringVar(state, "state", "", "the state `DIR` of a daemon that runs without a configuration file")
}

// dial finds the daemon: by --state, or by the configuration's state.
func (a *app) dial(state string) (*control, error) {
	if state == "" {
		cfg, err := a.load()
		if err != nil {
			folder, ok := config.StateOf(a.file)
			if !ok {
				return nil, err
			}
			a.complainOne("warning: "+a.file+" has mistakes; what answers is a daemon that read it before", "`backstop check` lists them")
			cfg = &config.Config{State: folder}
		}
		state = cfg.State
	}
	if state == "" {
		return nil, hint("set state = \"DIR\", or name the folder with --state DIR", "the configuration names no state folder, so its daemon cannot be asked")
	}
	c := &control{state: state}
	c.client.Timeout = controlTimeout
	c.client.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(state, daemon.SocketName))
		},
	}
	return c, nil
}

// ask sends one request and reads the JSON of its answer.
func (c *control) ask(ctx context.Context, method, path string, query url.Values, into any) error {
	u := url.URL{Scheme: "http", Host: "backstop", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return hint("start it with `backstop serve`, or name its folder with --state DIR", "%w with its state in %s", errNoDaemon, c.state)
	case errors.Is(err, fs.ErrPermission):
		return hint("ask as the user who runs the daemon, or as root", "the daemon's socket in %s may not be opened by this user", c.state)
	case err != nil:
		return fmt.Errorf("cannot ask the daemon: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var said struct{ Error, Hint string }
		if json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&said) != nil || said.Error == "" {
			return fmt.Errorf("the daemon answered %s", resp.Status)
		}
		return hint(said.Hint, "%s", said.Error)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("the daemon's answer is not understood: %w", err)
	}
	return nil
}
