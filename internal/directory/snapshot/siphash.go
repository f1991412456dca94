package snapshot

import "math/bits"

// sum is SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012): a
// keyed function whose values nobody without the key can tell from chance. It takes
// some 20 ns for an address, allocates nothing, and is the same on every machine,
// which hash/maphash is not.
func sum[T string | []byte](key Key, text T) Hash {
	k0, k1 := word(key[:8]), word(key[8:])
	v0, v1 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d^0xee
	v2, v3 := k0^0x6c7967656e657261, k1^0x7465646279746573
	last := uint64(len(text)) << 56
	for len(text) >= 8 {
		m := word(text[:8])
		v3 ^= m
		v0, v1, v2, v3 = mix(v0, v1, v2, v3)
		v0, v1, v2, v3 = mix(v0, v1, v2, v3)
		v0 ^= m
		text = text[8:]
	}
	for i := range len(text) {
		last |= uint64(text[i]) << (8 * i)
	}
	v3 ^= last
	v0, v1, v2, v3 = mix(v0, v1, v2, v3)
	v0, v1, v2, v3 = mix(v0, v1, v2, v3)
	v0 ^= last

	v2 ^= 0xee
	for range 4 {
		v0, v1, v2, v3 = mix(v0, v1, v2, v3)
	}
	hi := v0 ^ v1 ^ v2 ^ v3
	v1 ^= 0xdd
	for range 4 {
		v0, v1, v2, v3 = mix(v0, v1, v2, v3)
	}
	return Hash{hi: hi, lo: v0 ^ v1 ^ v2 ^ v3}
}

// word reads eight octets, the lowest first.
func word[T string | []byte](b T) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

func mix(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v2 += v3
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 = bits.RotateLeft64(v0, 32) + v3
	v2 += v1
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	return v0, v1, bits.RotateLeft64(v2, 32), v3
}
