package mailtest_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"backstop/internal/authres"
	"backstop/internal/bounce"
	"backstop/internal/dkim"
	"backstop/internal/dmarc"
	"backstop/internal/keyring"
	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/record"
	"backstop/internal/seal"
)

// monster makes a message of about n octets that is wrong in one way, as often as there is room for.
type monster struct {
	name string
	full int // octets of the largest that is played
	make func(n int) (header, body string)
}

const (
	mb       = 1 << 20
	fromLine = "From: MAILER-DAEMON@example.org\r\n"
	report   = fromLine + "Subject: failure notice\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b0\r\n"
	// unsound is a signature whose header and body are hashed, whatever comes of it.
	unsound = "DKIM-Signature: v=1; a=ed25519-sha256; c=%s; d=example.org; s=e; h=from:subject:x-a:x-a:x-a; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n"
)

// both are two such signatures, so that both canonicalisations run.
var both = fmt.Sprintf(unsound, "simple/simple") + fmt.Sprintf(unsound, "relaxed/relaxed")

// times repeats a text to n octets and no further.
func times(s string, n int) string { return strings.Repeat(s, n/len(s)) }

// numbered repeats a format with a number in it to about n octets.
func numbered(format string, n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// bodied is a monster in the body, headed one in the header.
func bodied(name, head, piece string, full int) monster {
	return monster{name, full, func(n int) (string, string) { return both + head, times(piece, n) }}
}

func headed(name, before, piece, after string, full int) monster {
	return monster{name, full, func(n int) (string, string) { return both + before + times(piece, n) + after, "x\r\n" }}
}

var monsters = []monster{
	bodied("line ends", report, "\r\n", 50*mb),
	bodied("blanks", report, " ", 50*mb),
	bodied("blank lines", report, " \r\n", 10*mb),
	bodied("bare CRs", report, "\r", 10*mb),
	bodied("letters", report, "a", 50*mb),
	bodied("borders", report, "--b0\r\n", 10*mb),
	bodied("parts of one border", report, "--b0\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n", 10*mb),
	bodied("status groups", report, "--b0\r\nContent-Type: message/delivery-status\r\n\r\nStatus: 5.1.1\r\n\r\n", 10*mb),
	bodied("returned headers", report, "--b0\r\nContent-Type: text/rfc822-headers\r\n\r\nFrom: a\r\nDKIM-Signature: v=1\r\n", 10*mb),
	bodied("equals signs", fromLine+"Content-Transfer-Encoding: quoted-printable\r\n", "=", 10*mb),
	{"nested parts", 10 * mb, func(n int) (string, string) {
		var b strings.Builder
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, "--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", i, i+1)
		}
		return both + report, b.String()
	}},
	{"base64 of base64", 10 * mb, func(n int) (string, string) {
		const head = "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
		body := head + "Subject: x\r\n\r\n"
		for len(body) < n {
			body = head + base64.StdEncoding.EncodeToString([]byte(body))
		}
		return both + report, "--b0\r\n" + body + "\r\n--b0--\r\n"
	}},
	headed("one header", fromLine+"X-A: ", "b", "\r\n", 50*mb),
	headed("one header, folded", fromLine+"X-A: b", "\r\n b", "\r\n", 10*mb),
	headed("one header, blank", fromLine+"X-A: ", " ", "b\r\n", 10*mb),
	headed("one header that does not end", fromLine+"X-A: b", "\r\n\t", "", 10*mb),
	headed("headers", fromLine, "X-A: b\r\n", "", 10*mb),
	{"headers, each its own", 10 * mb, func(n int) (string, string) { return both + fromLine + numbered("X-%d: b\r\n", n), "x\r\n" }},
	headed("lines that are no header", fromLine, "x\r\n", "", 10*mb),
	headed("Received", fromLine, "Received: from a by b; Mon, 5 Jan 2026 10:00:00 +0000\r\n", "", 10*mb),
	headed("From: fields", "", fromLine, "", 10*mb),
	headed("From: addresses", "From: ", "a@example.org, ", "\r\n", 10*mb),
	headed("From: domains", "From: ", "a@b.", "example\r\n", 10*mb),
	headed("From: brackets", "From: ", "<a@", "\r\n", 10*mb),
	headed("From: comments that open", "From: a@", "(", "\r\n", 10*mb),
	headed("From: comments", "From: a@b", "(a)", ".example\r\n", 10*mb),
	headed("From: quotes", "From: ", `"a@b" `, "<a@b.example>\r\n", 10*mb),
	headed("From: backslashes", `From: "`, `\`, "\r\n", 10*mb),
	headed("From: encoded words", "From: ", "=?utf-8?q?a=40b.example=2C?= ", "<a@b.example>\r\n", 10*mb),
	headed("From: encoded words that open", "From: ", "=?utf-8?b?", "<a@b.example>\r\n", 10*mb),
	headed("signatures", fromLine, fmt.Sprintf(unsound, "relaxed/simple"), "", 10*mb),
	headed("signatures of nothing", fromLine, "DKIM-Signature:\r\n", "", 10*mb),
	headed("signature: tags", fromLine+"DKIM-Signature: v=1", "; a=b", "\r\n", 10*mb),
	headed("signature: names", fromLine+"DKIM-Signature: v=1; a=ed25519-sha256; d=example.org; s=e; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA; h=from", ":x-a", "\r\n", 10*mb),
	headed("signature: blanks in it", fromLine+"DKIM-Signature: v=1; a=ed25519-sha256; d=example.org; s=e; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=", "A\r\n ", "\r\n", 10*mb),
	headed("signature: domain", fromLine+"DKIM-Signature: v=1; a=ed25519-sha256; s=e; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA; d=a", ".a", "\r\n", 10*mb),
	{"signatures with many names", 10 * mb, func(n int) (string, string) {
		names := strings.Repeat(":x-a", n/1000)
		var b strings.Builder
		for b.Len() < n {
			b.WriteString(strings.Replace(fmt.Sprintf(unsound, "relaxed/relaxed"), ":x-a:x-a:x-a", names, 1))
		}
		return fromLine + b.String() + times("X-A: b\r\n", n/10), "x\r\n"
	}},
	headed("results: comments that open", fromLine+"Authentication-Results: ", "(", "mx.example.org; none\r\n", 10*mb),
	headed("results: comments", fromLine+"Authentication-Results: ", "(a)", "mx.example.org; none\r\n", 10*mb),
	headed("results: blanks", fromLine+"Authentication-Results: ", " \r\n\t", "mx.example.org; none\r\n", 10*mb),
	headed("results: dots", fromLine+"Authentication-Results: mx", " . x", "; none\r\n", 10*mb),
	headed("results: quotes", fromLine+`Authentication-Results: "`, `\a`, "\"; none\r\n", 10*mb),
	headed("results: fields", fromLine, "Authentication-Results: mx.example.org; none\r\n", "", 10*mb),
	headed("content type: parameters", fromLine+"Content-Type: multipart/report", "; a=b", "\r\n", 10*mb),
	headed("content type: pieces of the border", fromLine+"Content-Type: multipart/report", "; boundary*0=b", "\r\n", 10*mb),
	headed("seals", fromLine, "Backstop-Seal: v=1; k=0; t=1764000000; h=AAAAAAAAAAAAAAAAAAAAAA\r\n", "", 10*mb),
	headed("seal: folds", fromLine+"Backstop-Seal: v=1", "\r\n ; k=0", "\r\n", 10*mb),
	headed("seal: blanks", fromLine+"Backstop-Seal", " ", ": v=1\r\n", 10*mb),
	headed("origins", fromLine, "Backstop-Origin: v=1; spf=pass\r\n", "", 10*mb),
	headed("references", fromLine+"References: ", "<a@b.example>\r\n ", "\r\n", 10*mb),
	headed("references: brackets that close", fromLine+"References: ", ">", "<\r\n", 10*mb),
	headed("references: brackets that open", fromLine+"References: ", "<", ">\r\n", 10*mb),
	headed("Message-ID: fields", fromLine, "Message-ID: <a@b.example>\r\n", "", 10*mb),
	headed("subject: encoded words", fromLine+"Subject: ", "=?utf-8?q?", "\r\n", 10*mb),
}

// played is what the readers took for one monster, in octets allocated.
type played struct{ recognise, header, body, returned, from, claims, seals, ids uint64 }

// play lets everybody read a message as a gateway would, and looks what each of them allocates.
func play(rd *readers, header, body string) (p played, keys int) {
	head, rest := []byte(header), []byte(body)
	whole := append([]byte(header+"\r\n"), rest...)
	var back []byte
	p.recognise = allocated(func() { back = bounce.Recognise(whole, true).Returned.Raw() })
	var v *dkim.Verifier
	p.header = allocated(func() { v = dkim.NewVerifier(head) })
	p.body = allocated(func() {
		for len(rest) > 0 {
			n := min(len(rest), 32<<10)
			v.Write(rest[:n])
			rest = rest[n:]
		}
		v.Verify(context.Background(), rd.lookup(0, &keys), now)
	})
	p.returned = allocated(func() {
		dkim.VerifyReturned(back, rd.ours, tenDays, now)
		dkim.VerifyReturned(head, rd.ours, tenDays, now)
	})
	p.from = allocated(func() {
		dmarc.FromDomain(head)
		dmarc.Parse([]string{"v=DMARC1; p=none" + header})
	})
	p.claims = allocated(func() { claims(head) })
	p.seals = allocated(func() {
		seal.VerifySeal(rd.ring, seal.Values(head, seal.SealName), rd.sender, now)
		seal.VerifyOrigin(rd.ring, seal.Values(head, seal.OriginName), rd.sender, now)
	})
	p.ids = allocated(func() {
		h := bounce.ReadHeader(head)
		record.IDs(h.Get("Message-ID"), h.Get("In-Reply-To"), h.Get("References"))
	})
	return p, keys
}

// claims asks for each field whether it claims to be ours.
func claims(header []byte) (n int) {
	for len(header) > 0 {
		end := 0
		for {
			i := bytes.IndexByte(header[end:], '\n')
			if i < 0 {
				end = len(header)
				break
			}
			if end += i + 1; end == len(header) || header[end] != ' ' && header[end] != '\t' {
				break
			}
		}
		if authres.Claims(header[:end], "mx.example.org") {
			n++
		}
		header = header[end:]
	}
	return n
}

// allocated is how many octets f allocates, whether or not it keeps them.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Bounds of what is allocated, in octets. A header is in memory already, and taking it apart may cost some times as much as
// itself, and something for each line; a body costs nothing, however long it is.
const (
	mostRecognise = 16 * mb // bounce looks at no more than 1 MB
	mostBody      = 64 << 10
	mostSmall     = 64 << 10
	mostTimes     = 10
	mostLine      = 1000
)

// TestMonsters plays them as large as they come. That it ends shows that nothing grows with the square of 10 MB.
func TestMonsters(t *testing.T) {
	rd := quickReaders()
	for _, m := range monsters {
		t.Run(m.name, func(t *testing.T) {
			header, body := m.make(m.full)
			p, keys := play(rd, header, body)
			t.Logf("%.1f MB: KB allocated: %d recognise, %d header, %d body, %d returned, %d author, %d claims, %d seals, %d ids",
				float64(len(header)+len(body))/mb, p.recognise>>10, p.header>>10, p.body>>10, p.returned>>10, p.from>>10, p.claims>>10, p.seals>>10, p.ids>>10)
			most := mostSmall + mostTimes*uint64(len(header)) + mostLine*uint64(strings.Count(header, "\n"))
			if p.recognise > mostRecognise || p.body > mostBody || max(p.header, p.returned, p.from, p.claims, p.seals, p.ids) > most || keys > dkim.MaxSignatures {
				t.Errorf("%d octets of header: %+v, %d keys asked for", len(header), p, keys)
			}
		})
	}
}

// quickReaders have an Ed25519 key alone, which takes no time to make and is the same each time.
func quickReaders() *readers {
	k := dkim.Key{Domain: "example.org", Selector: "e", Private: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
	_, txt, _ := k.Record() // of a key that is right
	sender, _ := mail.ParseAddress("a@example.org")
	secret := keyring.Key{Secret: bytes.Repeat([]byte("s"), 32)}
	ring, err := keyring.New(secret)
	if err != nil {
		panic(err) // as it is written above
	}
	return &readers{rsa: k, ed: k, records: map[string][]string{"e": {txt}, "r": {txt}}, ring: ring, sender: sender}
}

// TestManySignatures: of 500 that are all sound as many are believed as are looked at.
func TestManySignatures(t *testing.T) {
	rd := quickReaders()
	message := []byte(fromLine + "Subject: x\r\n\r\nx\r\n")
	for range 250 {
		message = rd.signed(t, message)
	}
	header, body := part(message)
	v, asked := dkim.NewVerifier(header), 0
	v.Write(body)
	got := v.Verify(t.Context(), rd.lookup(0, &asked), now)
	if bytes.Count(header, []byte("DKIM-Signature:")) != 500 || len(got) != dkim.MaxSignatures || asked > dkim.MaxSignatures {
		t.Errorf("%d results, %d questions: %+v", len(got), asked, got)
	}
}

// monsterVar makes this test binary play one monster: "SIZE NAME".
const monsterVar = "BACKSTOP_TEST_MONSTER"

func TestMain(m *testing.M) {
	if size, name, ok := strings.Cut(os.Getenv(monsterVar), " "); ok {
		n, err := strconv.Atoi(size)
		if err != nil {
			panic(err)
		}
		for _, one := range monsters {
			if one.name == name {
				header, body := one.make(n)
				play(quickReaders(), header, body)
			}
		}
	}
	os.Exit(m.Run())
}

// readersOf are the packages whose steps are counted.
var readersOf = []string{"bounce", "dkim", "dmarc", "authres", "seal", "record"}

// mostSteps is how many statements an octet may cost one package, however often it is looked at.
const mostSteps = 100

// TestSteps counts the statements that are run for each monster, and for one of about twice its size: for an octet there
// must not be more of them. The compiler's coverage counts, in a test binary of its own. It does not see into the standard
// library, which TestMonsters makes up for.
func TestSteps(t *testing.T) {
	mailtest.Need(t, "go")
	dir := mailtest.Dir(t)
	binary := filepath.Join(dir, "counting")
	build := exec.CommandContext(t.Context(), mailtest.Find("go"), "test", "-c", "-covermode=count",
		"-coverpkg=backstop/internal/"+strings.Join(readersOf, ",backstop/internal/"), "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const n = 200_000 // twice it is still below what bounce looks at
	for _, m := range monsters {
		small, large := m.size(n), m.size(2*n)
		once, twice := steps(t, binary, m.name, n), steps(t, binary, m.name, 2*n)
		for _, pkg := range readersOf {
			a, b := once[pkg], twice[pkg]
			t.Logf("%-40s %-8s %9d steps for %d octets, %9d for %d", m.name, pkg, a, small, b, large)
			if 10*b/large > 11*a/small+1 || b > mostSteps*large {
				t.Errorf("%s: %s takes %d steps for %d octets, and %d for %d", m.name, pkg, a, small, b, large)
			}
		}
	}
}

// size is how many octets the monster really has.
func (m monster) size(n int) int {
	header, body := m.make(n)
	return len(header) + len(body)
}

// steps plays one monster in a process, and adds up by package how often each statement was run.
func steps(t *testing.T, binary, name string, size int) map[string]int {
	t.Helper()
	profile := filepath.Join(mailtest.Dir(t), "profile")
	run := exec.CommandContext(t.Context(), binary, "-test.run=^$", "-test.coverprofile="+profile)
	run.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", monsterVar, size, name))
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	f, err := os.Open(profile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := map[string]int{}
	for lines := bufio.NewScanner(f); lines.Scan(); { // backstop/internal/dkim/verify.go:39.2,41.3 2 17
		path, rest, _ := strings.Cut(lines.Text(), ":")
		var from, to string
		var statements, count int
		if _, err := fmt.Sscanf(strings.Replace(rest, ",", " ", 1), "%s %s %d %d", &from, &to, &statements, &count); err == nil {
			sum[filepath.Base(filepath.Dir(path))] += statements * count
		}
	}
	if len(sum) == 0 {
		t.Fatal("nothing was counted")
	}
	return sum
}
