package dkim

import (
	"crypto"
	"strings"
	"testing"
	"time"

	"backstop/internal/evidence"
)

// own gives the public halves of keys.
func own(keys ...Key) func(domain, selector string) crypto.PublicKey {
	return func(domain, selector string) crypto.PublicKey {
		for _, k := range keys {
			if k.Domain == domain && k.Selector == selector {
				return k.Private.Public()
			}
		}
		return nil
	}
}

func TestReturned(t *testing.T) {
	rsa, ed := Key{"example.org", "r", rsaKey(t, 2048)}, Key{"example.org", "e", edKey(1)}
	header := "X-Mailer: x\r\nReceived: first\r\n" + sampleHeader + "Backstop-Seal: v=1\r\n"
	sign := func(keys ...Key) string {
		s := NewSigning([]byte(header), keys, noon)
		s.Write([]byte(sampleBody))
		f, err := s.Fields()
		if err != nil {
			t.Fatal(err)
		}
		return string(f)
	}
	both := sign(rsa, ed) + header
	fold := strings.NewReplacer("; ", ";\r\n    ", "Joe <", "Joe\r\n <")
	for name, tc := range map[string]struct {
		header   string
		keys     []Key
		want     evidence.Result
		selector string
	}{
		"as it left":          {both, []Key{rsa, ed}, evidence.Pass, "r"},
		"the other key only":  {both, []Key{ed}, evidence.Pass, "e"},
		"LF only":             {strings.ReplaceAll(both, "\r\n", "\n"), []Key{rsa}, evidence.Pass, "r"},
		"trailing space":      {strings.ReplaceAll(both, "\r\n", " \t\r\n"), []Key{rsa}, evidence.Pass, "r"},
		"trailing space gone": {strings.ReplaceAll(both, " \r\n", "\r\n"), []Key{rsa}, evidence.Pass, "r"},
		"tabs for spaces":     {strings.ReplaceAll(both, "\r\n\t", "\r\n        "), []Key{rsa}, evidence.Pass, "r"},
		"unfolded":            {strings.ReplaceAll(both, "\r\n\t", " "), []Key{rsa}, evidence.Pass, "r"},
		"folded anew, LF":     {strings.ReplaceAll(fold.Replace(both), "\r\n", "\n"), []Key{rsa}, evidence.Pass, "r"},
		"names in capitals":   {strings.Replace(both, "Subject:", "SUBJECT:", 1), []Key{rsa}, evidence.Pass, "r"},
		"more above":          {"Return-Path: <>\r\nReceived: a\r\nTo: more\r\n" + both, []Key{rsa}, evidence.Pass, "r"},
		"fields moved":        {sampleHeader + sign(rsa), []Key{rsa}, evidence.Pass, "r"},
		"the body too":        {both + "\r\n" + sampleBody, []Key{rsa}, evidence.Pass, "r"},
		"without last end":    {strings.TrimSuffix(both, "\r\n"), []Key{rsa}, evidence.Pass, "r"},
		"unsigned gone":       {strings.NewReplacer("X-Mailer: x\r\n", "", "Received: first\r\n", "", "Backstop-Seal: v=1\r\n", "").Replace(both), []Key{rsa}, evidence.Pass, "r"},
		"other subject":       {strings.Replace(both, "dinner", "supper", 1), []Key{rsa}, evidence.Fail, "r"},
		"another From":        {"From: x@example.com\r\n" + both, []Key{rsa}, evidence.Fail, "r"},
		"To gone":             {strings.Replace(both, "To: ", "X-To: ", 1), []Key{rsa}, evidence.Fail, "r"},
		"cut":                 {both[:strings.Index(both, "Subject:")], []Key{rsa}, evidence.Fail, "r"},
		"body hash changed":   {strings.Replace(both, "bh=", "bh=A", 1), []Key{rsa}, evidence.PermError, "r"},
		"another key":         {both, []Key{{"example.org", "r", edKey(9)}}, evidence.Fail, "r"},
		"none of our keys":    {both, nil, evidence.None, ""},
		"not signed":          {header, []Key{rsa, ed}, evidence.None, ""},
		"nothing":             {"", []Key{rsa}, evidence.None, ""},
		"one broken above":    {"DKIM-Signature: v=1; d=example.org; s=r\r\n" + both, []Key{rsa}, evidence.Pass, "r"},
	} {
		got, ok := VerifyReturned([]byte(tc.header), own(tc.keys...), noon.AddDate(0, 0, 9))
		if got.Result != tc.want || ok != (tc.want == evidence.Pass) || got.Selector != tc.selector || ok != (got.Detail == "") {
			t.Errorf("%s: %+v, %v; want %v", name, got, ok, tc.want)
		}
	}
	expired := craft(t, edKey(1), usual+"; t=1795348800; x=1795348900; l=3", sampleHeader, sampleBody)
	key := own(Key{"example.org", "s", edKey(1)})
	if got, ok := VerifyReturned([]byte(expired+sampleHeader), key, noon.AddDate(0, 0, 20)); !ok {
		t.Errorf("expired: %+v", got)
	}
	if got, ok := VerifyReturned([]byte(expired+sampleHeader), key, noon.Add(-48*time.Hour)); ok || got.Result != evidence.Fail {
		t.Errorf("from the future: %+v", got)
	}
	flood := strings.Repeat(strings.Replace(expired, "b=", "b=AAAA", 1), MaxSignatures)
	if got, ok := VerifyReturned([]byte(flood+expired+sampleHeader), key, noon); ok || got.Result != evidence.Fail {
		t.Errorf("the ninth: %+v", got)
	}
}
