package dkim

import (
	"bytes"
	"crypto"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"backstop/internal/evidence"
)

func TestSigning(t *testing.T) {
	keys := []Key{{"Example.ORG", "R", rsaKey(t, 2048)}, {"bücher.example", "e", edKey(1)}}
	header := "Return-Path: <joe@example.org>\r\nAuthentication-Results: x; spf=pass\r\nBackstop-Origin: v=1\r\n" + sampleHeader +
		"Cc: a@example.com\r\nCC: b@example.com\r\nList-Unsubscribe: <https://example.org/u>\r\nX-Other: y\r\n"
	s := NewSigning([]byte(header), keys, noon)
	for i := range len(sampleBody) {
		s.Write([]byte(sampleBody[i : i+1]))
	}
	fields, err := s.Fields()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.Fields(); err != nil || !bytes.Equal(again[:100], fields[:100]) {
		t.Errorf("the second time: %q %v", again, err)
	}
	if _, err := s.Write([]byte("x")); err == nil {
		t.Error("the body goes on behind its end")
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(fields), "\r\n"), "\r\n") {
		if len(line) > 78 || len(line) < 10 || strings.TrimRight(line, " \t") != line {
			t.Errorf("the line %q", line)
		}
	}
	flat := strings.Join(strings.Fields(string(fields)), " ")
	want := `DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example\.org; s=r; t=1795348800; h=from:from:subject:date:message-id:to: ?cc:cc:list-unsubscribe; bh=[A-Za-z0-9+/]{43}=; b=[A-Za-z0-9+/= ]+ ` +
		`DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=xn--bcher-kva\.example; s=e; t=`
	if !regexp.MustCompile("^" + want).MatchString(flat) {
		t.Errorf("%s", flat)
	}
	z := zoneOf(t, keys...)
	for name, h := range map[string]string{"as it is": header, "other trace": "Received: more\r\n" + strings.Replace(header, "spf=pass", "spf=fail", 1), "another Cc above": "Cc: z@example.com\r\n" + header} {
		for _, r := range check(string(fields)+h, sampleBody, z.lookup, noon, 9) {
			if r.Result != evidence.Pass {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
	for _, r := range check(string(fields)+"From: x@example.com\r\n"+header, sampleBody, z.lookup, noon, 9) {
		if r.Result != evidence.Fail {
			t.Errorf("with another From: %+v", r)
		}
	}
}

// TestSigningOdd: there is no message that cannot be signed.
func TestSigningOdd(t *testing.T) {
	keys := []Key{{"example.org", "e", edKey(1)}}
	z := zoneOf(t, keys...)
	for name, header := range map[string]string{
		"no From":       "Subject: x\r\n",
		"two From":      "From: a@example.org\r\nFrom: b@example.org\r\n",
		"nothing":       "",
		"no field":      "hello\r\nFrom: x\r\n",
		"many":          "From: a@example.org\r\n" + strings.Repeat("To: b@example.org\r\n", 1000),
		"no end":        "From: a@example.org",
		"signed before": "DKIM-Signature: v=1; d=example.net\r\nFrom: a@example.org\r\n",
		"eight bits":    "From: Jos\xe9 <a@example.org>\r\nSubject: \xff\r\n",
	} {
		s := NewSigning([]byte(header), keys, noon)
		fields, err := s.Fields()
		if err != nil || len(fields) > 1000 {
			t.Errorf("%s: %d octets, %v", name, len(fields), err)
		}
		if r := check(string(fields)+header, "", z.lookup, noon, 1)[0]; r.Result != evidence.Pass {
			t.Errorf("%s: %+v\n%s", name, r, fields)
		}
	}
}

// mute is a key that does not sign.
type mute struct{ crypto.Signer }

func (mute) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("out of order")
}

func TestSigningFails(t *testing.T) {
	good := Key{"example.org", "e", edKey(1)}
	for want, bad := range map[string]Key{
		"out of order":   {"example.org", "m", mute{edKey(1)}},
		"no private key": {"example.org", "m", nil},
		"the domain":     {"", "m", edKey(1)},
		"768 bits":       {"example.org", "m", smallKey(t)},
	} {
		s := NewSigning([]byte(sampleHeader), []Key{bad, good}, noon)
		fields, err := s.Fields()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", want, err)
		}
		if n := bytes.Count(fields, []byte("DKIM-Signature:")); n != 1 {
			t.Errorf("%s: %d fields", want, n)
		}
	}
}

func smallKey(t *testing.T) crypto.Signer {
	t.Setenv("GODEBUG", "rsa1024min=0")
	return rsaKey(t, 768)
}
