package resolver

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"

	"backstop/internal/mailtest"
)

// TestFresh: what is remembered does not count for who must know what is so now, but that it could not be found out does; and
// the servers' own memory is told.
func TestFresh(t *testing.T) {
	d := mailtest.StartDNS(t, "day.example.com 90000 A 192.0.2.1\nhour.example.com 3600 A 192.0.2.1\nalias.example.com 60 CNAME hour.example.com.\nfailing.example.com 60 A 192.0.2.1\nzero.example.com 0 A 192.0.2.1")
	d.Fail("failing.example.com", mailtest.DNSServFail)
	r, clock := asks(t, late, d)
	fresh := func(name, want string) {
		t.Helper()
		addrs, ttl, err := r.LookupAFresh(t.Context(), name+".example.com")
		if got := fmt.Sprint(addrs, ttl, " ", kindOf(err)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	fresh("hour", "[192.0.2.1] 1h0m0s well")
	fresh("alias", "[192.0.2.1] 1m0s well")
	fresh("day", "[192.0.2.1] 24h0m0s well")
	fresh("zero", "[192.0.2.1] 0s well")
	fresh("failing", "[] 0s temporary")
	d.Forget()
	fresh("failing", "[] 0s temporary")
	if n := d.Asked("failing.example.com"); n != 0 {
		t.Errorf("what fails was asked %d times more at once", n)
	}
	clock.move(failureKept)
	fresh("failing", "[] 0s temporary")
	if n := d.Asked("failing.example.com"); n == 0 {
		t.Error("what failed is not asked again")
	}

	d.Set("other.example.com A 192.0.2.9")
	if addrs, err := r.LookupA(t.Context(), "hour.example.com"); err != nil || len(addrs) != 1 || d.Asked("hour.example.com") != 0 {
		t.Errorf("not from memory: %v %v", addrs, err)
	}
	fresh("hour", "[] 0s not found")
	if _, err := r.LookupA(t.Context(), "hour.example.com"); kindOf(err) != "not found" || d.Asked("hour.example.com") != 1 {
		t.Errorf("what was found out anew is not remembered: %v", err)
	}
	if k, found := r.known(question{"day.example.com.", dns.TypeA}, false); !found || k.until.Sub(clock.now()) > mostKept {
		t.Errorf("kept until %v, found %v", k.until, found)
	}
}
