package rig

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"backstop/internal/mailtest"
)

// DKIMSigner is how another program is to sign.
type DKIMSigner struct {
	Domain, Selector string
	Key              string // the private key: PKCS#8 in PEM for OpenDKIM; for dkimpy PKCS#1 in PEM, or base64 of the seed of an Ed25519 key
	Algorithm        string // a=
	Canonicalization string // c=
}

// openDKIM runs Debian's opendkim over messages in its test mode, in which it opens no socket and
// asks no DNS, and returns what it would insert above each of them.
func openDKIM(t testing.TB, dir, config, name string, messages []string) []string {
	t.Helper()
	root := unpacked("opendkim")
	if root == "" {
		mailtest.Absent(t, "opendkim")
	}
	libs, _ := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu"))
	more, _ := filepath.Glob(filepath.Join(root, "lib/*-linux-gnu"))
	libs = append(append(libs, more...), filepath.Join(root, "usr/lib"))
	conf := mailtest.WriteFile(t, dir, "opendkim.conf", config)
	files := make([]string, len(messages))
	for i, m := range messages {
		files[i] = fmt.Sprintf("%d.eml", i)
		mailtest.WriteFile(t, dir, files[i], m)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "usr/sbin/opendkim"), "-x", conf, "-vv", "-t", strings.Join(files, ","))
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(libs, ":"))
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	var inserted []string
	for _, m := range regexp.MustCompile(`(?s)### INSHEADER: idx=\d+ hname='`+name+`' hvalue='(.*?)'\n`).FindAllStringSubmatch(string(out), -1) {
		inserted = append(inserted, m[1])
	}
	if err != nil || len(inserted) != len(messages) {
		t.Fatalf("opendkim: %v, %d headers for %d messages\n%.2000s\n%.2000s", err, len(inserted), len(messages), out, complaints.String())
	}
	return inserted
}

// OpenDKIMVerify lets Debian's opendkim verify messages, each of which has one signature, and returns its
// words of RFC 8601. records are the texts of the keys by name.
func OpenDKIMVerify(t testing.TB, records map[string]string, messages ...string) []string {
	t.Helper()
	dir := mailtest.Dir(t)
	var keys strings.Builder
	for name, txt := range records {
		fmt.Fprintf(&keys, "%s %s\n", name, txt)
	}
	found := openDKIM(t, dir, "Mode v\nTestPublicKeys "+mailtest.WriteFile(t, dir, "keys", keys.String())+"\n", "Authentication-Results", messages)
	for i, text := range found {
		m := regexp.MustCompile(`\bdkim=(\w+)`).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("opendkim says %q", text)
		}
		found[i] = m[1]
	}
	return found
}

// OpenDKIMSign lets Debian's opendkim sign messages, and returns a field with CRLF for each.
func OpenDKIMSign(t testing.TB, s DKIMSigner, messages ...string) []string {
	t.Helper()
	dir := mailtest.Dir(t)
	key := filepath.Join(dir, "key.pem")
	if err := os.WriteFile(key, []byte(s.Key), 0o600); err != nil {
		t.Fatal(err)
	}
	fields := openDKIM(t, dir, fmt.Sprintf("Mode s\nDomain %s\nSelector %s\nKeyFile %s\nCanonicalization %s\nSignatureAlgorithm %s\nOversignHeaders From\nInternalHosts 0.0.0.0/0\nRequireSafeKeys no\n",
		s.Domain, s.Selector, key, s.Canonicalization, s.Algorithm), "DKIM-Signature", messages)
	for i := range fields {
		fields[i] = "DKIM-Signature: " + strings.ReplaceAll(fields[i], "\n", "\r\n") + "\r\n"
	}
	return fields
}

//go:embed dkim.py
var dkimProgram string

// dkimpy asks Debian's python3-dkim; the program says what the request is.
func dkimpy(t testing.TB, request, answer any) {
	t.Helper()
	python := "/usr/bin/python3" // Debian's: another one does not see Debian's packages
	if _, err := os.Stat(python); err != nil || exec.CommandContext(t.Context(), python, "-c", "import dkim, nacl").Run() != nil {
		mailtest.Absent(t, "python3-dkim")
	}
	in, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", dkimProgram)
	cmd.WaitDelay = time.Second
	cmd.Stdin = strings.NewReader(string(in))
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, answer)
	}
	if err != nil {
		t.Fatalf("python3-dkim: %v\n%.2000s", err, complaints.String())
	}
}

// latin turns octets into characters of the same number, as which they travel in JSON, and back.
func latin(messages []string) []string {
	all := make([]string, len(messages))
	for i, m := range messages {
		r := make([]rune, len(m))
		for j := range len(m) {
			r[j] = rune(m[j])
		}
		all[i] = string(r)
	}
	return all
}

// DkimpyVerify lets Debian's python3-dkim verify the topmost signature of each message: "pass", "fail", or
// "error" and what it is that it does not like.
func DkimpyVerify(t testing.TB, records map[string]string, messages ...string) []string {
	t.Helper()
	var found []string
	dkimpy(t, map[string]any{"records": records, "messages": latin(messages)}, &found)
	return found
}

// DkimpySign lets Debian's python3-dkim sign messages, and returns a field with CRLF for each. Those of the
// header that are signed are the ones it signs by itself.
func DkimpySign(t testing.TB, s DKIMSigner, messages ...string) []string {
	t.Helper()
	var fields []string
	dkimpy(t, map[string]any{"signer": s, "messages": latin(messages)}, &fields)
	return fields
}
