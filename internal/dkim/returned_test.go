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

// tenDays is for how long a signature of ours counts.
const tenDays = 10 * 24 * time.Hour

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
		got, ok := VerifyReturned([]byte(tc.header), own(tc.keys...), tenDays, noon.AddDate(0, 0, 9))
		if got.Result != tc.want || ok != (tc.want == evidence.Pass) || got.Selector != tc.selector || ok != (got.Detail == "") {
			t.Errorf("%s: %+v, %v; want %v", name, got, ok, tc.want)
		}
	}
	list := usual + "; t=1795348800; x=1795348900; l=3" // t= is noon
	expired := craft(t, edKey(1), list, sampleHeader, sampleBody)
	key := own(Key{"example.org", "s", edKey(1)})
	flood := strings.Repeat(strings.Replace(expired, "b=", "b=AAAA", 1), MaxSignatures)
	if got, ok := VerifyReturned([]byte(flood+expired+sampleHeader), key, tenDays, noon); ok || got.Result != evidence.Fail {
		t.Errorf("the ninth: %+v", got)
	}
	undated := craft(t, edKey(1), usual, sampleHeader, sampleBody)
	for _, tc := range []struct {
		field  string
		after  time.Duration // noon
		detail string
	}{
		{expired, 0, ""},
		{expired, tenDays, ""}, // x= is over
		{expired, -10 * time.Minute, ""},
		{expired, tenDays + time.Second, "signed 10 days ago, and counts for 10"},
		{expired, 400 * 24 * time.Hour, "signed 400 days ago, and counts for 10"},
		{expired, -10*time.Minute - time.Second, "made in the future"},
		{undated, 0, "does not say when"},
		{craft(t, edKey(1), usual+"; t=0", sampleHeader, sampleBody), 0, "does not say when"},
		{craft(t, edKey(1), usual+"; t=99999999999999999999", sampleHeader, sampleBody), 0, "made in the future"},
		{strings.Replace(expired, "t=1795348800", "t=1795348801", 1), 0, "does not verify"},
	} {
		got, ok := VerifyReturned([]byte(tc.field+sampleHeader), key, tenDays, noon.Add(tc.after))
		if ok != (tc.detail == "") || !strings.Contains(got.Detail, tc.detail) || !ok && got.Result != evidence.Fail {
			t.Errorf("%v after %.90q: %+v, want %q", tc.after, tc.field, got, tc.detail)
		}
	}
	// An old one is not in the way of one that counts.
	if got, ok := VerifyReturned([]byte(undated+expired+sampleHeader), key, tenDays, noon); !ok {
		t.Errorf("behind an undated one: %+v", got)
	}
}
