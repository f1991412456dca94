package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"backstop/internal/directory"
	"backstop/internal/listen"
)

// SocketName is the control socket's name in the state folder.
const SocketName = "backstop.sock"

// webServer is an HTTP server with its listener. A nil one can be closed.
type webServer struct {
	l    net.Listener
	spec listen.Spec
	srv  *http.Server
	done chan struct{}
}

// answerTime bounds the making of an answer. The sources of a domain may take more than a minute together, and `setup exim`
// has Exim wait for them.
const answerTime = 150 * time.Second

func serveHTTP(l net.Listener, h http.Handler) *webServer {
	w := &webServer{l: l, done: make(chan struct{}), srv: &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: answerTime, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}}
	go func() {
		defer close(w.done)
		w.srv.Serve(l)
	}()
	return w
}

func (w *webServer) close() {
	if w == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if w.srv.Shutdown(ctx) != nil {
		w.srv.Close()
	}
	<-w.done
}

// startControl opens the socket on which `backstop status` and `backstop
// directory` ask. Whoever may read the state folder may ask.
func (d *Daemon) startControl(s *setup) error {
	if s.cfg.State == "" {
		return nil
	}
	path, err := filepath.Abs(filepath.Join(s.cfg.State, SocketName))
	if err != nil {
		return err
	}
	l, err := listen.Listen("unix:" + path + "?mode=0600")
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return err
		}
		return &hinted{fmt.Errorf("the control socket cannot be opened: %w", err), "is another backstop running with the same state folder?"}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, d.Status()) })
	mux.HandleFunc("GET /bounces", d.serveBounces)
	mux.HandleFunc("GET /directory/stat", d.serveStat)
	mux.HandleFunc("POST /directory/forget", d.serveForget)
	mux.HandleFunc("POST /directory/sync", d.serveSync)
	d.control = serveHTTP(l, mux)
	return nil
}

func (d *Daemon) serveForget(w http.ResponseWriter, r *http.Request) {
	what := r.FormValue("what")
	p, err := directory.ParsePattern(what)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, failure{err.Error(), "write user@domain, @domain, or *"})
		return
	}
	n, err := d.directory.Forget(r.Context(), p)
	if err != nil {
		writeJSON(w, http.StatusInternalServerError, failure{err.Error(), "the answers are forgotten until the next start"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]int{"forgotten": n})
}

// failure is an error as the API tells it.
type failure struct {
	Error string `json:"error"`
	Hint  string `json:"hint"`
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // it is read by people too, and no browser takes it for HTML
	e.Encode(v)            // the client may be gone; there is nobody to tell
}

// startWeb opens the listener of [panel]: metrics and health.
func (d *Daemon) startWeb(s *setup) error {
	w, err := d.openWeb(s)
	d.setWeb(w)
	return err
}

func (d *Daemon) setWeb(w *webServer) {
	d.sockets.Lock()
	d.web = w
	d.sockets.Unlock()
}

func (d *Daemon) openWeb(s *setup) (*webServer, error) {
	spec := s.cfg.Panel.Listen
	if spec == (listen.Spec{}) {
		return nil, nil
	}
	l, err := opens(doorPanel, spec)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", d.metrics.Handler())
	mux.HandleFunc("GET /healthz", d.serveHealth)
	mux.HandleFunc("GET "+lookupPath, d.serveLookup)
	mux.HandleFunc("/api/", serveNoAPI)
	w := serveHTTP(d.limited(doorPanel, l, s), mux)
	w.spec = spec
	return w, nil
}

// serveHealth answers 200 while the gateway takes mail, and 503 once it stops.
// A downstream that is away is no reason to send the mail elsewhere: it is told in "wrong".
func (d *Daemon) serveHealth(w http.ResponseWriter, _ *http.Request) {
	code, word := http.StatusOK, "ok"
	if d.draining.Load() {
		code, word = http.StatusServiceUnavailable, "stopping"
	}
	writeJSON(w, code, map[string]any{"status": word, "wrong": d.Status().Wrong})
}

// reopenWeb opens the panel's listener where the new configuration wants it, unless it is there already.
func (d *Daemon) reopenWeb(s, old *setup) (*webServer, error) {
	if s.cfg.Panel.Listen == old.cfg.Panel.Listen {
		return d.web, nil
	}
	return d.openWeb(s)
}
