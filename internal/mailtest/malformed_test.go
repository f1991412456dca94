package mailtest_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/authres"
	"backstop/internal/bounce"
	"backstop/internal/dkim"
	"backstop/internal/dmarc"
	"backstop/internal/evidence"
	"backstop/internal/keyring"
	"backstop/internal/mail"
	"backstop/internal/mailtest"
)

// readers is all that looks into what strangers send, with keys of our own and of theirs.
type readers struct {
	rsa, ed dkim.Key
	records map[string][]string
	ring    keyring.Ring // of seals
	sender  mail.Address // whose seals are looked for
}

// now is when all signatures are made and judged.
var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

var newReaders = sync.OnceValues(func() (*readers, error) {
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	_, small, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	r := &readers{
		rsa:     dkim.Key{Domain: "example.org", Selector: "r", Private: big},
		ed:      dkim.Key{Domain: "example.org", Selector: "e", Private: small},
		records: map[string][]string{},
	}
	for _, k := range []dkim.Key{r.rsa, r.ed} {
		_, txt, err := k.Record()
		if err != nil {
			return nil, err
		}
		r.records[k.Selector] = []string{txt}
	}
	return r, nil
})

func theReaders(t testing.TB) *readers {
	t.Helper()
	r, err := newReaders()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// lookup is a DNS of one of three moods: it answers whatever it is asked, it knows nobody, it fails.
func (r *readers) lookup(mood int, asked *int) dkim.KeyLookup {
	return func(_ context.Context, domain, selector string) ([]string, error) {
		*asked++
		switch mood {
		case 0:
			if txt, ok := r.records[selector]; ok {
				return txt, nil
			}
			return r.records["r"], nil
		case 1:
			return nil, &net.DNSError{Err: "no such host", Name: selector + "._domainkey." + domain, IsNotFound: true}
		}
		return nil, &net.DNSError{Err: "server misbehaving", IsTemporary: true}
	}
}

// tenDays is for how long a signature of ours counts in a header that comes back.
const tenDays = 10 * 24 * time.Hour

// ours is the public key under any domain and selector, the most that a forger could hope for.
func (r *readers) ours(_, selector string) crypto.PublicKey {
	if selector == "e" {
		return r.ed.Private.Public()
	}
	return r.rsa.Private.Public()
}

// signed puts our signatures before a message with CRLF.
func (r *readers) signed(t testing.TB, raw []byte) []byte {
	t.Helper()
	header, body := part(raw)
	s := dkim.NewSigning(header, []dkim.Key{r.rsa, r.ed}, now)
	s.Write(body)
	fields, err := s.Fields()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(fields, raw)
}

// part cuts a message at its first empty line, which belongs to neither half.
func part(raw []byte) (header, body []byte) {
	for i := range raw {
		if raw[i] != '\n' {
			continue
		}
		switch rest := raw[i+1:]; {
		case bytes.HasPrefix(rest, []byte("\r\n")):
			return raw[:i+1], rest[2:]
		case bytes.HasPrefix(rest, []byte("\n")):
			return raw[:i+1], rest[1:]
		}
	}
	return raw, nil
}

// corpus reads the sample messages that lie beside the repository, and are not copied into it.
func corpus(t testing.TB) [][]byte {
	t.Helper()
	var all [][]byte
	for _, folder := range []string{"bounces", "autoreplies", "feedback-reports", "ordinary"} {
		files, err := filepath.Glob(filepath.Join(mailtest.Corpus(t, folder), "*.eml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no messages in %s (%v)", folder, err)
		}
		for _, f := range files {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, raw)
		}
	}
	return all
}

// hostile are fields that stand in some mutated header, each wrong in its own way.
var hostile = []string{
	"From: " + strings.Repeat("(", 5000),
	"From: \"a\\",
	"From: a@example.org, b@example.com",
	"From: <@one.example,@two.example:c@three.example>",
	"From: =?utf-8?b?PGFAZXhhbXBsZS5vcmc+?= <b@example.com>",
	"From: undisclosed:;",
	"From:\r\n\t\r\n <a@example.org>",
	"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=r; c=simple; h=" + strings.Repeat("from:", 3000) + "; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA",
	"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=r; h=from; l=99999999999999999999; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=",
	"DKIM-Signature: v=1; a=ed25519-sha256; d=" + strings.Repeat("a.", 2000) + "; s=e; h=from; l=0; t=-1; x=1; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=====",
	"DKIM-Signature: " + strings.Repeat(";=", 2000),
	"DKIM-Signature:",
	"Authentication-Results: (a(b\\)(c)) mx . example.org / 1; spf=pass smtp.mailfrom=a@b",
	"Authentication-Results: \"mx.example.org\" 1; dkim=pass",
	"Authentication-Results: " + strings.Repeat("(", 5000) + "mx.example.org",
	"Authentication-Results:\r\n\tMX.Example.ORG; none",
	"Content-Type: multipart/report; boundary=\"\"; report-type=delivery-status",
	"Content-Type: multipart/mixed; boundary*0=a; boundary*1*=utf-8''%41; charset=(",
	"Content-Transfer-Encoding: base64",
	"Content-Transfer-Encoding: quoted-printable",
	"Received: from a by b; " + strings.Repeat("x", 2000),
	": no name", "no colon at all", "\x00\x01\x02: \xff\xfe", " begins with a fold",
}

// mutate spoils a message in one to five of the ways in which messages are spoilt.
func mutate(r *mathrand.Rand, raw, other []byte) []byte {
	m := bytes.Clone(raw)
	for range 1 + r.IntN(5) {
		if len(m) < 2 {
			return m
		}
		i := r.IntN(len(m))
		if r.IntN(2) == 0 { // half of it happens in the header, most of which the body would hide
			header, _ := part(m)
			i = r.IntN(max(len(header), 1))
		}
		j := min(len(m), i+1+r.IntN(200))
		switch r.IntN(13) {
		case 0:
			m[i] = byte(r.IntN(256))
		case 1:
			m = append(m[:i:i], m[j:]...)
		case 2:
			m = append(m[:j:j], m[i:]...)
		case 3:
			m = m[:i]
		case 4:
			m = append(m[:i:i], other[r.IntN(len(other)):]...)
		case 5:
			m = bytes.ReplaceAll(m, []byte("\r\n"), []byte("\n"))
		case 6:
			m = slices.Concat(m[:i], []byte("\r\n\r\n"), m[i:])
		case 7:
			m = slices.Concat(m[:i], []byte("\r\n "), m[i:])
		case 8, 9:
			m = slices.Concat([]byte(hostile[r.IntN(len(hostile))]), []byte("\r\n"), m)
		case 10:
			swapCase(m[i:j])
		case 11:
			header, body := part(m)
			m = slices.Concat(header, []byte("Content-Transfer-Encoding: base64\r\n\r\n"), base64.StdEncoding.AppendEncode(nil, base64.StdEncoding.AppendEncode(nil, body)))
		case 12:
			m = append(bytes.Repeat([]byte("Received: by x\r\n"), 1+r.IntN(50)), m...)
		}
	}
	return m
}

func swapCase(p []byte) {
	for i, c := range p {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			p[i] = c ^ 0x20
		}
	}
}

// TestMalformed lets everything that looks into mail look into 10,000 spoilt messages. Nothing crashes, nothing that
// is said is out of bounds, and of a signed message that was changed a signature passes only where
// white space was all that changed.
func TestMalformed(t *testing.T) {
	rd := theReaders(t)
	plain := corpus(t)
	for i, raw := range plain {
		plain[i] = bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	}
	sound := map[string]bool{} // the bodies that were signed
	all := slices.Clone(plain)
	for _, raw := range plain {
		_, body := part(raw)
		sound[squeeze(body)] = true
		all = append(all, rd.signed(t, raw))
	}
	r := mathrand.New(mathrand.NewPCG(4, 2026))
	var seen tally
	for range 10_000 {
		m := mutate(r, all[r.IntN(len(all))], all[r.IntN(len(all))])
		rd.read(t, r, m, sound, &seen)
		if t.Failed() {
			t.Fatalf("%q", m)
		}
	}
	t.Logf("%+v", seen)
	if seen.Bounces == 0 || seen.Passed == 0 || seen.Failed == 0 || seen.Returned == 0 || seen.Authors == 0 || seen.Ambiguous == 0 || seen.Claims == 0 || seen.Keys == 0 {
		t.Errorf("some reader saw nothing of its own: %+v", seen)
	}
}

// tally says how far the messages came.
type tally struct{ Bounces, Returned, Signatures, Passed, Failed, Keys, Proven, Authors, Ambiguous, Records, Claims int }

// read lets everybody read one message.
func (rd *readers) read(t *testing.T, r *mathrand.Rand, m []byte, sound map[string]bool, seen *tally) {
	t.Helper()
	report := bounce.Recognise(m, r.IntN(2) == 0)
	if report.Kind != bounce.Ordinary {
		seen.Bounces++
	}
	back := report.Returned.Raw()
	if len(back) > 0 {
		seen.Returned++
	}
	if s, ok := dkim.VerifyReturned(back, rd.ours, tenDays, now); ok {
		seen.Proven++ // a message that was signed can stand in one that was spliced from two
		if s.Result != evidence.Pass || s.Domain != "example.org" {
			t.Errorf("a returned header is said to be ours: %+v", s)
		}
	}
	header, body := part(m)
	rd.verify(t, r, header, body, sound, seen)
	for _, h := range [][]byte{header, back} {
		switch domain, err := dmarc.FromDomain(h); {
		case err == nil && domain != "" && len(domain) < 256 && !strings.ContainsAny(domain, " \t\r\n\"(<>"):
			seen.Authors++
		case errors.Is(err, dmarc.ErrAmbiguous) && domain == "":
			seen.Ambiguous++
		case !errors.Is(err, dmarc.ErrNone) || domain != "":
			t.Errorf("author %q, %v", domain, err)
		}
	}
	if _, found, err := dmarc.Parse([]string{"v=DMARC1; p=reject; " + string(m[:min(len(m), 3000)])}); found && err == nil {
		seen.Records++
	}
	for field := range bytes.SplitAfterSeq(header, []byte("\n")) {
		if authres.Claims(field, "mx.example.org") {
			seen.Claims++
		}
	}
}

// verify checks the signatures of a message whose body comes in pieces of any size.
func (rd *readers) verify(t *testing.T, r *mathrand.Rand, header, body []byte, sound map[string]bool, seen *tally) {
	t.Helper()
	mood, asked := r.IntN(3), 0
	v := dkim.NewVerifier(header)
	for rest := body; len(rest) > 0; {
		n := 1 + r.IntN(min(len(rest), 4000))
		v.Write(rest[:n])
		rest = rest[n:]
	}
	found := v.Verify(t.Context(), rd.lookup(mood, &asked), now)
	if len(found) > dkim.MaxSignatures || asked > dkim.MaxSignatures {
		t.Errorf("%d signatures, %d questions", len(found), asked)
	}
	seen.Signatures += len(found)
	seen.Keys += asked
	for _, s := range found {
		switch {
		case s.Result == evidence.NotChecked || int(s.Result) >= evidence.NumResults:
			t.Errorf("%+v", s)
		case s.Result != evidence.Pass:
			seen.Failed++
		case mood != 0:
			t.Errorf("passed without a key: %+v", s)
		case !sound[squeeze(body)]:
			t.Errorf("a body passed that was not signed: %+v", s)
		default:
			seen.Passed++
		}
		if len(s.Domain) > 1000 || len(s.Selector) > 1000 || len(s.Detail) > 1000 {
			t.Errorf("out of bounds: %d, %d, %d octets", len(s.Domain), len(s.Selector), len(s.Detail))
		}
	}
}

// squeeze is a text without its white space, which relaxed canonicalisation may change.
func squeeze(b []byte) string { return strings.Join(strings.Fields(string(b)), "") }
