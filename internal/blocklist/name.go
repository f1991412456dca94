package blocklist

import (
	"net/netip"
	"strconv"
	"strings"
)

// The test entries of RFC 5782, 5: the first must be listed, and the second must not be.
var (
	testListed  = netip.AddrFrom4([4]byte{127, 0, 0, 2})
	testClean   = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	testListed6 = netip.AddrFrom16(testListed.As16())
	testClean6  = netip.AddrFrom16(testClean.As16())
)

// Name is the name that is asked for: the octets of an IPv4 address, or the nibbles of an IPv6 address, from
// the last to the first, before the zone (RFC 5782, 2.1 and 2.4). An IPv4 address in IPv6 form (::ffff:192.0.2.1) has nibbles.
func Name(a netip.Addr, zone string) string {
	var b strings.Builder
	if a.Is4() {
		q := a.As4()
		for i := range q {
			b.WriteString(strconv.Itoa(int(q[len(q)-1-i])))
			b.WriteByte('.')
		}
	} else {
		const digits = "0123456789abcdef"
		q := a.As16()
		for i := range q {
			c := q[len(q)-1-i]
			b.Write([]byte{digits[c&15], '.', digits[c>>4], '.'})
		}
	}
	return b.String() + zone
}
