package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backstop/internal/mailtest"
)

// smallMaps is the row with a few recipients, and ours made up.
func smallMaps(t *testing.T) *mapRow {
	m := newMapRow(filepath.Join(t.TempDir(), "maps"), 2000)
	m.numKeys, m.rounds, m.patience = 1001, 1, time.Minute
	m.weighOur = func(context.Context, string, int, string) (*listed, error) { return &listed{FileEach: 18}, nil }
	return m
}

func TestMapsBesidePostfix(t *testing.T) {
	mailtest.Need(t, "postmap")
	m := smallMaps(t)
	m.weighOur = func(_ context.Context, list string, n int, keep string) (*listed, error) { return weigh(list, n, keep) }
	lines := m.run(t.Context(), result{Row: "maps"})
	if len(lines) != int(numAspects) {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		if line.Peer == "" || line.Ours == "" || line.Row != "maps" {
			t.Errorf("got %+v", line)
		}
		for _, f := range line.Figures {
			if f.Missing != "" {
				t.Errorf("%s: %s: %s", line.About, f.Name, f.Missing)
			}
		}
	}
	if _, err := os.Stat(m.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", m.dir, err)
	}
}

// A map that lacks a recipient, or knows one who is not listed, may be quick as it likes.
func TestMapsCountTheAnswers(t *testing.T) {
	mailtest.Need(t, "postmap")
	m := smallMaps(t)
	if err := m.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.dir, "map"), []byte(listedUser(0)+" OK\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m.build(t.Context())
	m.ask(t.Context())
	for _, p := range m.peers {
		if p.missing == nil || !strings.Contains(p.missing.Error(), "good answers instead of 501") {
			t.Errorf("%s: %v", p.name, p.missing)
		}
	}
}

func TestMapsWithoutThisType(t *testing.T) {
	mailtest.Need(t, "postmap")
	m := smallMaps(t)
	m.peers[1].kind = "nosuch"
	lines := m.run(t.Context(), result{})
	if got := lines[fileSize].Figures[1].Missing; got != "this Postfix has no maps of type nosuch" {
		t.Errorf("got %q", got)
	}
	if lines[fileSize].Ours == "" || !strings.HasSuffix(lines[fileSize].Ratio, " of LMDB") {
		t.Errorf("got %+v", lines[fileSize])
	}
}

func TestMapsGiveUp(t *testing.T) {
	mailtest.Need(t, "postmap")
	m := smallMaps(t)
	m.patience = 1 // nanosecond
	lines := m.run(t.Context(), result{})
	if got := lines[builtIn].Figures[0].Missing; got != "given up: not built after 1ns (-patience)" {
		t.Errorf("got %q", got)
	}
}

func TestMapLines(t *testing.T) {
	m := newMapRow("", 10_000_000)
	m.peers[0].add(builtIn, 5)
	m.peers[1].missing = errors.New("given up")
	m.ours.add(builtIn, 2.5)
	line := m.lines(result{})[builtIn]
	if line.About != "10 M recipients: compiled, elapsed" || line.Peer != "LMDB 5.00 s" || line.Ours != "2.50 s" || line.Ratio != "0.500 of LMDB" {
		t.Errorf("got %+v", line)
	}
	if got := line.Figures[1].Missing; got != "given up" {
		t.Errorf("got %q", got)
	}
	m.peers[1].add(builtIn, 4) // measured before it failed later
	if got := m.lines(result{})[builtIn]; got.Peer != "LMDB 5.00 s, cdb 4.00 s" || got.Ratio != "0.625 of cdb" {
		t.Errorf("got %+v", got)
	}
}

func TestWriteKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	if err := writeKeys(path, 10, 101); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	listed := 0
	for _, line := range lines {
		if strings.HasPrefix(line, "user000000") {
			listed++
		} else if !strings.HasPrefix(line, "nouser") {
			t.Errorf("asks for %q", line)
		}
	}
	if len(lines) != 101 || listed != 51 {
		t.Errorf("%d keys, %d of them listed", len(lines), listed)
	}
}

func TestGoodAnswers(t *testing.T) {
	if got := goodAnswers(strings.NewReader("user1@x\tOK\nnouser@x\tOK\nuser2@x\tNO\nuser3@x\tOK\n")); got != 2 {
		t.Errorf("%d good answers", got)
	}
}

func TestJudgePostmap(t *testing.T) {
	failed := func(code string) error { return exec.Command("/bin/sh", "-c", "exit "+code).Run() }
	for _, c := range []struct {
		err       error
		complaint string
		good      bool
	}{
		{nil, "warning: a duplicate", true},
		{failed("1"), "", true},
		{failed("1"), "fatal: no such file\n", false},
		{failed("2"), "", false},
		{exec.ErrNotFound, "", false},
	} {
		if got := judgePostmap(c.err, c.complaint); (got == nil) != c.good {
			t.Errorf("%v with %q: %v", c.err, c.complaint, got)
		}
	}
}
