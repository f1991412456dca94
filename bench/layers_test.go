package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"backstop/internal/bounce"
	"backstop/internal/dkim"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/resolver"
	"backstop/internal/seal"
)

func testKey() dkim.Key {
	return dkim.Key{Domain: knownDomain, Selector: "s1", Private: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
}

func TestLettersAreWhatTheyShouldBe(t *testing.T) {
	now := time.Now()
	plain := inbound()
	sealedBy, err := keysIn(t.TempDir() + "/keys")
	if err != nil {
		t.Fatal(err)
	}
	back, err := returned(sealedBy, now)
	if err != nil {
		t.Fatal(err)
	}
	proven, err := signed(plain, testKey(), now)
	if err != nil {
		t.Fatal(err)
	}
	_, txt, err := testKey().Record()
	if err != nil {
		t.Fatal(err)
	}
	for i := range plain {
		for _, m := range [][]byte{plain[i].message, back[i].message} {
			if len(m) > messageSize || len(m) < messageSize-100 || !bytes.HasSuffix(m, []byte("\r\n.\r\n")) {
				t.Fatalf("%d octets:\n%s", len(m), m)
			}
		}
		header, body, _ := bytes.Cut(bytes.TrimSuffix(proven[i].message, []byte(".\r\n")), []byte("\r\n\r\n"))
		v := dkim.NewVerifier(append(bytes.Clone(header), "\r\n"...))
		v.Write(body)
		keys := func(context.Context, string, string) ([]string, error) { return []string{txt}, nil }
		if got := v.Verify(t.Context(), keys, now); len(got) != 1 || got[0].Result != evidence.Pass {
			t.Fatalf("%+v", got)
		}
		to, err := mail.ParseAddress(back[i].to)
		if err != nil {
			t.Fatal(err)
		}
		r := bounce.Recognise(back[i].message, true)
		if f := seal.VerifySeal(sealedBy, seal.Values(r.Returned.Raw(), seal.SealName), to, now); r.Kind != bounce.Bounce || f.Standing != seal.Valid {
			t.Fatalf("%v, %v", r.Kind, f.Standing)
		}
	}
	if outgoing(true)[3].from != userOf(3) || outgoing(false)[3].from != "sender@"+knownDomain {
		t.Error("who sends what leaves?")
	}
}

func TestZone(t *testing.T) {
	text, err := zoneOf(testKey())
	if err != nil {
		t.Fatal(err)
	}
	n, err := readZone(text)
	if err != nil {
		t.Fatal(err)
	}
	packets, stream, err := bothAt()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: n}, {Listener: stream, Handler: n}} {
		go s.ActivateAndServe()
	}
	t.Cleanup(func() { packets.Close(); stream.Close() })
	r, err := resolver.New(resolver.Config{Servers: []netip.AddrPort{netip.MustParseAddrPort(packets.LocalAddr().String())}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for name, want := range map[string]string{
		knownDomain: "v=spf1", "s7." + freshDomain: "v=spf1", "_dmarc.s7." + freshDomain: "v=DMARC1", "_dmarc." + freshDomain: "v=DMARC1", "s1._domainkey." + knownDomain: "k=ed25519",
	} {
		if got, err := r.LookupTXT(t.Context(), name); err != nil || len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	var none *net.DNSError
	if _, err := r.LookupTXT(t.Context(), "nobody.example"); !errors.As(err, &none) || !none.IsNotFound {
		t.Error(err)
	}
}

func TestSinkShows(t *testing.T) {
	addr := startSink(t)
	got, err := sinkShows(addr, func() error {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("MAIL FROM:<a@b.example>\r\nBDAT 7 LAST\r\n\"x\"\r\n\r\nQUIT\r\n")); err != nil {
			return err
		}
		_, err = bytes.NewBuffer(nil).ReadFrom(conn)
		return err
	})
	if want := "MAIL FROM:<a@b.example>\r\n\"x\"\r\n\r\n"; got != want || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := sinkShows(addr, func() error { return nil }); got != "" || err != nil {
		t.Errorf("of nothing it shows %q, %v", got, err)
	}
}

func TestLayerLines(t *testing.T) {
	figures := []*figure{{Rounds: []float64{100, 110}}, {Rounds: []float64{130, 150}}, {Missing: "gone"}}
	for _, f := range figures {
		f.finish()
	}
	got := layerLines(result{Row: "layers"}, []layer{{about: "bare", base: 0}, {about: "more", base: 0}, {about: "most", base: 1}}, figures)
	if len(got) != 3 || got[0].Peer != "" || got[1].Peer != "105 us" || got[1].Ours != "140 us" || got[2].Ours != "" {
		t.Fatalf("%+v", got)
	}
	if !strings.Contains(strings.Join(got[1].Notes, ""), "it adds +35.0 us (+30.0 to +40.0) to: bare") || got[1].Reached != "" {
		t.Errorf("%+v", got[1])
	}
}

// TestLayersStandOnOthers: each is compared with one that is there, and only the bare ones with none.
func TestLayersStandOnOthers(t *testing.T) {
	all := new(material).layers()
	for i, l := range all {
		if l.about == "" || l.name == "" || l.base < 0 || l.base > i {
			t.Errorf("%d: %+v", i, l)
		}
		if bare := strings.Contains(l.about, "bare"); bare != (l.base == i) {
			t.Errorf("%s is compared with %s", l.about, all[l.base].about)
		}
	}
	if len(all) != outEd25519+1 {
		t.Errorf("%d layers", len(all))
	}
}
