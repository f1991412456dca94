package auth

import (
	"strings"
	"testing"
)

func TestSPFSyntax(t *testing.T) {
	for _, terms := range []string{
		"", " ", "  -all ", "all", "+ALL", "a", "~A/0", "mx//0", "a/24//64", "?mx:example.com/32//128", "a:x.example.com.", "ptr", "PTR:example.com",
		"ip4:192.0.2.1", "IP4:0.0.0.0/0", "ip6:::1", "ip6:2001:db8::/32", "ip6:::ffff:192.0.2.1/96", "include:_spf.example.com", "exists:%{i}._spf.%{d2}",
		"exists:%{l1r-}.%{S}", "exists:%{ir}.%{v}.a%%b.%_c.%-d.example", "a:xn--bcher-kva.xn--p1ai", "redirect=_spf.example.com", "REDIRECT=a.b EXP=c.d",
		"exp=%{h}", "unknown=", "un-kno_w.n1=a:b/c%{d}=?", "all=x", "a:foo:bar/baz.example.com", "a:x.y/z.example/24",
	} {
		if err := spfSyntax("v=spf1 " + terms); err != nil {
			t.Errorf("%q: %v", terms, err)
		}
	}
	for terms, want := range map[string]string{
		"moo":                          "nobody knows",
		"-all all:":                    "takes no argument",
		"all/8":                        "takes no argument",
		"++all":                        "nobody knows",
		"-":                            "nobody knows",
		"-redirect=a.b":                "nobody knows",
		"1=2":                          "nobody knows",
		"=2":                           "nobody knows",
		"include":                      "lacks a domain",
		"include:":                     "lacks a domain",
		"include/a.b":                  "no network",
		"include:example":              "top-level",
		"exists:example.123":           "top-level",
		"a:example.-com":               "top-level",
		"a:example.com-":               "top-level",
		"a:.":                          "top-level",
		"a:192.0.2.1":                  "top-level",
		"mx:example.com:25":            "top-level",
		"a:":                           "lacks a domain",
		"a:/24":                        "lacks a domain",
		"a/":                           "cannot be read",
		"a//":                          "cannot be read",
		"a/x":                          "cannot be read",
		"a/24/64":                      "0 to 32",
		"a/33":                         "0 to 32",
		"a//129":                       "0 to 128",
		"a/024":                        "0 to 32",
		"ptr/8":                        "no network",
		"ip4":                          "no address",
		"ip4:":                         "no address",
		"ip4:192.0.2":                  "no address",
		"ip4:192.0.2.01":               "no address",
		"ip4:::1":                      "no address",
		"ip4:192.0.2.0/":               "0 to 32",
		"ip4:192.0.2.0/33":             "0 to 32",
		"ip4:192.0.2.0/8/8":            "0 to 32",
		"ip6:192.0.2.1":                "no address",
		"ip6:fe80::1%eth0":             "no address",
		"ip6:::/129":                   "0 to 128",
		"redirect=":                    "lacks a domain",
		"redirect=a.b redirect=a.b":    "once only",
		"exp=a.b Exp=c.d":              "once only",
		"x=%":                          "single %",
		"x=%a":                         "begins no macro",
		"x=%{":                         "macro that cannot be read",
		"x=%{}":                        "macro that cannot be read",
		"x=%{d0}":                      "macro that cannot be read",
		"x=%{d2x}":                     "macro that cannot be read",
		"x=%{c}":                       "macro that cannot be read",
		"exists:%{z}":                  "macro that cannot be read",
		"a:caf\u00e9.example":          "character",
		"a:x.example\tall":             "character",
		"a:" + strings.Repeat("x", 90): "…",
	} {
		if err := spfSyntax("v=spf1 " + terms); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", terms, err, want)
		}
	}
	for txt, want := range map[string]bool{"v=spf1": true, "V=SPF1 -all": true, "v=spf1-all": false, "v=spf10 -all": false, "v=spf": false, " v=spf1": false, "": false} {
		if isSPF(txt) != want {
			t.Errorf("%q", txt)
		}
	}
}
