package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"backstop/internal/audit"
)

// auditSamples are the logs of real servers that internal/audit keeps.
const auditSamples = "../../internal/audit/testdata/"

func auditSample(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(auditSamples + name + ".log")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// writeLog writes a log below the test's folder, compressed where the name says so, that was last written to on that day.
func writeLog(t *testing.T, dir, name, text, day string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	data := []byte(text)
	if strings.HasSuffix(name, ".gz") {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		data = b.Bytes()
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	at, err := time.ParseInLocation(time.DateTime, day+" 18:00:00", time.Local)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	return path
}

func auditReport(t *testing.T, code int, out string) audit.Report {
	t.Helper()
	var r audit.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v: %s", code, err, out)
	}
	return r
}

// TestAuditRotated: a log cut into pieces, one of them packed, with names that sort the wrong way, over the turn of a year.
func TestAuditRotated(t *testing.T) {
	dir := t.TempDir()
	log := auditSample(t, "postfix")
	lines := strings.SplitAfter(log, "\n")
	old := strings.ReplaceAll(strings.Join(lines[:70], ""), "Nov 22", "Dec 31")
	recent := strings.ReplaceAll(strings.Join(lines[70:], ""), "Nov 22", "Jan  1")
	files := []string{writeLog(t, dir, "a.log", recent, "2026-01-01"), writeLog(t, dir, "b.log.gz", old, "2025-12-31")}
	code, out, complaint := runMain(t, append([]string{"audit", "--json", "--domain", "Example.NET"}, files...)...)
	r := auditReport(t, code, out)
	if r.Backscatter != 6 || r.OwnUsers != 2 || r.Headless != 0 || r.From[:10] != "2025-12-31" || r.To[:10] != "2026-01-01" || complaint != "" {
		t.Errorf("%+v %s", r, complaint)
	}
	code, out, _ = runMain(t, append([]string{"audit", "--json", "--domain", "example.net", "--since", "2026-01-01"}, files...)...)
	if later := auditReport(t, code, out); later.Backscatter == 0 || later.Backscatter > 6 || later.Began[:10] != "2026-01-01" {
		t.Errorf("since the first of January: %+v", later)
	}
}

// TestAuditInput: standard input, a file that is not there, a folder, one that is named twice, one that is cut, packed otherwise.
func TestAuditInput(t *testing.T) {
	dir := t.TempDir()
	var out, complaint bytes.Buffer
	code := Main(t.Context(), []string{"audit", "--json", "--domain", "example.net", "-"}, strings.NewReader(auditSample(t, "exim")), &out, &complaint)
	if r := auditReport(t, code, out.String()); r.Backscatter != 6 {
		t.Errorf("standard input: %+v", r)
	}
	good := writeLog(t, dir, "mail.log", auditSample(t, "postfix"), "2026-11-22")
	zipped, err := os.ReadFile(writeLog(t, dir, "mail.log.gz", auditSample(t, "sendmail"), "2026-11-22"))
	if err != nil {
		t.Fatal(err)
	}
	cut := writeLog(t, dir, "cut", string(zipped[:len(zipped)/2]), "2026-11-22")
	for _, c := range []struct{ name, says string }{
		{filepath.Join(dir, "absent"), "absent: no such file or directory\n"},
		{dir, ": this is a folder\nbackstop: hint: name the files in it\n"},
		{good, ": this is the same file as "},
		{cut, ": the compressed file is cut short\nbackstop: hint: what could be read of it was counted\n"},
		{writeLog(t, dir, "mail.log.xz", "\xfd7zXZ\x00rest", "2026-11-22"), "compressed by xz, which is not read\nbackstop: hint: xz -dc FILE | backstop audit -\n"},
		{writeLog(t, dir, "utf16.log", "\xff\xfe#\x00", "2026-11-22"), "text in UTF-16, which is not read\nbackstop: hint: iconv -f UTF-16 -t UTF-8 FILE | backstop audit -\n"},
		{writeLog(t, dir, "mail.log.zst", "\x28\xb5\x2f\xfdrest", "2026-11-22"), "compressed by zstd"},
	} {
		code, out, complaint := runMain(t, "audit", "--domain", "example.net", good, c.name)
		if code != 1 || !strings.Contains(complaint, c.says) || !strings.Contains(out, "6 bounces left this server for 6 strangers") && c.name != cut {
			t.Errorf("%s: exit code %d, %q\n%s", c.name, code, complaint, out)
		}
	}
	if code, out, complaint := runMain(t, "audit", filepath.Join(dir, "absent")); code != 1 || out != "" || !strings.Contains(complaint, "no such file") {
		t.Errorf("%d %q %q", code, out, complaint)
	}
	for _, args := range [][]string{{"audit"}, {"audit", "--since", "yesterday", good}, {"audit", "--domain", "a b", good}, {"audit", "--top", "0", good}} {
		if code, out, complaint := runMain(t, args...); code != 1 || out != "" || !strings.Contains(complaint, "backstop: hint: ") {
			t.Errorf("%v: %d %q %q", args, code, out, complaint)
		}
	}
}

// TestAuditPrinted: what people see, whole.
func TestAuditPrinted(t *testing.T) {
	dir := t.TempDir()
	day := func(d string) string { return strings.ReplaceAll(auditSample(t, "postfix"), "Nov 22", d) }
	log := writeLog(t, dir, "mail.log", day("Nov 20")+day("Nov 22")+day("Nov 22")+"what is this?\nwhat is \x1b[31mthis 2?\nwhat is \x1b[31mthis 3?\n", "2026-11-22")
	code, out, complaint := runMain(t, "audit", "--domain", "example.net", "--unknown", log)
	want, err := os.ReadFile("testdata/audit.txt")
	if err != nil {
		t.Fatal(err)
	}
	if code != 0 || complaint != "" || out != string(want) {
		t.Errorf("exit code %d %s\n%s", code, complaint, out)
	}
	empty := writeLog(t, dir, "empty", "", "2026-11-22")
	code, out, _ = runMain(t, "audit", empty)
	if code != 2 || !strings.Contains(out, "nothing was found that tells of mail") || !strings.Contains(out, "1. nothing in these files is a mail log that is known") {
		t.Errorf("%d %s", code, out)
	}
	if code, out, _ = runMain(t, "audit", "--since", "2100-01-01", log); code != 2 || !strings.Contains(out, "1. these logs end before the time that --since names") {
		t.Errorf("%d %s", code, out)
	}
	far := writeLog(t, dir, "far", strings.ReplaceAll(auditSample(t, "opensmtpd"), "example.net", "x.example.org"), "2026-11-22")
	if code, out, _ = runMain(t, "audit", far); code != 0 || !strings.Contains(out, "cannot be told: no own domain is known") || strings.Contains(out, "with Backstop") && strings.Contains(out, "not for a domain of yours") {
		t.Errorf("%d %s", code, out)
	}
}

// TestAuditCopies: a log beside its packed copy counts once, and is told.
func TestAuditCopies(t *testing.T) {
	dir := t.TempDir()
	text := auditSample(t, "postfix")
	plain, packed := writeLog(t, dir, "mail.log.1", text, "2026-11-22"), writeLog(t, dir, "mail.log.1.gz", text, "2026-11-22")
	other := writeLog(t, dir, "mail.log.2", strings.ReplaceAll(text, "Nov 22", "Nov 21"), "2026-11-22")
	code, out, complaint := runMain(t, "audit", "--domain", "example.net", plain, packed)
	if code != 1 || !strings.Contains(complaint, "mail.log.1.gz: this begins as "+plain+" does, and is not read: it looks like a copy") || !strings.Contains(out, "6 bounces left this server for 6 strangers") {
		t.Errorf("%d %q\n%s", code, complaint, out)
	}
	if code, out, complaint := runMain(t, "audit", "--domain", "example.net", plain, other); code != 0 || !strings.Contains(out, "12 bounces left") {
		t.Errorf("%d %q\n%s", code, complaint, out)
	}
}

// zeros is a stream that does not end by itself, and ends its context when much of it was read.
type zeros struct {
	cancel context.CancelFunc
	left   int
}

func (z *zeros) Read(p []byte) (int, error) {
	if z.left -= len(p); z.left < 0 {
		z.cancel()
	}
	clear(p)
	return len(p), nil
}

// TestAuditInterrupted: whatever is read, and however much it unpacks to, Ctrl-C ends it.
func TestAuditInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out, complaint bytes.Buffer
	if code := Main(ctx, []string{"audit", "-"}, &zeros{cancel, 10 << 20}, &out, &complaint); code != 1 || !strings.Contains(complaint.String(), "interrupted before the logs were read") {
		t.Errorf("a line without end: %d %q", code, complaint.String())
	}
	ctx, cancel = context.WithCancel(t.Context())
	silent, hold := io.Pipe()
	defer hold.Close()
	context.AfterFunc(t.Context(), cancel)
	go func() {
		hold.Write([]byte("x\n")) // it was read when this returns, and nothing more comes
		cancel()
	}()
	complaint.Reset()
	if code := Main(ctx, []string{"audit", "-"}, silent, &out, &complaint); code != 1 || !strings.Contains(complaint.String(), "interrupted") {
		t.Errorf("a pipe that says nothing: %d %q", code, complaint.String())
	}
}

// TestAuditLook: of what unpacks to very much only the beginning is looked at beforehand.
func TestAuditLook(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	random := rand.New(rand.NewPCG(1, 2))
	for range 4 << 20 {
		z.Write([]byte{byte(random.Uint32()) | 0x80})
	}
	z.Close()
	path := filepath.Join(t.TempDir(), "bomb.gz")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var done atomic.Int64
	l := &logFile{name: path, done: &done, ctx: t.Context()}
	if err := l.look(nil); err != nil || l.counted > int64(b.Len())*3/4 {
		t.Errorf("%v, %d of %d octets were read", err, l.counted, b.Len())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.ctx = ctx
	if err := l.look(nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAuditChart(t *testing.T) {
	var days []audit.Count
	for d := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC); d.Year() < 2026; d = d.AddDate(0, 0, 1) {
		days = append(days, audit.Count{Name: d.Format(time.DateOnly), Count: 1})
	}
	for n, want := range map[int]string{7: "day 7 2025-01-01 1", 36: "week, by its first day 6 2025-01-01 7", 365: "month 12 2025-01 31"} {
		rows, what := periods(days[:n])
		if got := strings.Join([]string{what, strconv.Itoa(len(rows)), rows[0].Name, strconv.Itoa(rows[0].Count)}, " "); got != want {
			t.Errorf("%d days: %s, want %s", n, got, want)
		}
	}
	if blocks(0, 5) != "" || blocks(1, 1000) != "▏" || len([]rune(blocks(5, 5))) != 40 || !strings.HasSuffix(blocks(3, 1000), "▏") {
		t.Error(blocks(1, 1000), blocks(5, 5))
	}
	if got := bar(480_000_000, 1_000_000_000); got != "reading [##############................] 48 %, 480 of 1000 MB" {
		t.Error(got)
	}
	for _, c := range []struct {
		n, of int
		want  string
	}{{0, 0, "0 %"}, {1, 1000, "<1 %"}, {999, 1000, ">99 %"}, {1, 2, "50 %"}, {7, 7, "100 %"}} {
		if got := percent(c.n, c.of); got != c.want {
			t.Errorf("%d of %d: %s", c.n, c.of, got)
		}
	}
}
