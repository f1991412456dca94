package snapshot

import (
	"encoding/hex"
	"strings"
	"testing"
)

// What another implementation says of the octets 0, 1, 2 and so on, under the key of the octets 0 to 15
// (openssl mac -macopt hexkey:000102… -macopt size:16 SIPHASH, OpenSSL 3).
var sipHash128 = map[int]string{
	0:  "A3817F04BA25A8E66DF67214C7550293",
	1:  "DA87C1D86B99AF44347659119B22FC45",
	2:  "8177228DA4A45DC7FCA38BDEF60AFFE4",
	3:  "9C70B60C5267A94E5F33B6B02985ED51",
	7:  "A1F1EBBED8DBC153C0B84AA61FF08239",
	8:  "3B62A9BA6258F5610F83E264F31497B4",
	9:  "264499060AD9BAABC47F8B02BB6D71ED",
	15: "5493E99933B0A8117E08EC0F97CFC3D9",
	16: "6EE2A4CA67B054BBFD3315BF85230577",
	17: "473D06E8738DB89854C066C47AE47740",
	31: "2939B0183223FAFC1723DE4F52C43D35",
	40: "DF6A301E95C95DAD97AE0CC8C6913BD8",
	63: "5150D1772F50834A503E069A973FBD7C",
}

func TestSipHash(t *testing.T) {
	var all [64]byte
	for i := range all {
		all[i] = byte(i)
	}
	for n, want := range sipHash128 {
		key := Key(all[:16])
		if got := strings.ToUpper(hex.EncodeToString(sum(key, all[:n]).Append(nil))); got != want {
			t.Errorf("%d octets: %s, want %s", n, got, want)
		}
		if sum(key, string(all[:n])) != sum(key, all[:n]) {
			t.Errorf("%d octets: a string and its octets differ", n)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	key, text := Key{1}, "firstname.surname@example.com"
	b.ReportAllocs()
	for b.Loop() {
		if sum(key, text) == (Hash{}) {
			b.Fatal("zero")
		}
	}
}
