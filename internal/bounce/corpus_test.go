package bounce

import (
	"bytes"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// sample is one message of the corpus.
type sample struct {
	name string
	raw  []byte
	null bool // it says that its envelope sender was <>
	held bool // of the half that was not looked at while the clues were written
}

// corpus reads a folder of the sample messages, which lie beside the repository and are not copied into it.
func corpus(t testing.TB, folder string) []sample {
	t.Helper()
	dir := mailtest.Corpus(t, folder)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []sample
	for _, f := range files {
		raw, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		h := fnv.New32a()
		h.Write([]byte(folder + "/" + f.Name()))
		rp, _, _ := bytes.Cut(append([]byte("\n"), raw...), []byte("\n\n"))
		null := bytes.Contains(bytes.ToLower(rp), []byte("\nreturn-path: <>"))
		all = append(all, sample{name: f.Name(), raw: raw, null: null, held: h.Sum32()>>7&1 == 1})
	}
	return all
}

// carries says, without any code of the package, that a message has within its body, somewhere, lines that
// only the header of another message has.
func carries(raw []byte) bool {
	text := strings.ToLower(strings.ReplaceAll(string(raw), "\r\n", "\n"))
	_, body, _ := strings.Cut(text, "\n\n")
	seen := map[string]bool{}
	for line := range strings.Lines(body) {
		line = strings.TrimLeft(line, " \t>")
		for _, name := range []string{"from:", "subject:", "date:", "message-id:", "received:", "to:"} {
			if strings.HasPrefix(line, name) {
				seen[name] = true
			}
		}
	}
	return seen["from:"] && (seen["message-id:"] || seen["received:"]) && (seen["subject:"] || seen["date:"])
}

// tally counts what was seen of one half.
type tally struct{ seen, bounces, carry, found int }

func (n *tally) add(t *testing.T, s sample, r Report) {
	n.seen++
	if r.Kind == Bounce {
		n.bounces++
	} else {
		t.Logf("not recognised: %s is %v by %v", s.name, r.Kind, r.Clue)
	}
	if !carries(s.raw) {
		return
	}
	n.carry++
	if r.Returned.Empty() {
		t.Logf("returned header not found: %s", s.name)
	} else {
		n.found++
	}
}

// TestCorpus holds what docs/design/bounces.md says of the samples.
func TestCorpus(t *testing.T) {
	var half [2]tally
	kinds, samples := map[Clue]map[string]bool{}, map[Clue]int{}
	for _, s := range corpus(t, "bounces") {
		r := Recognise(s.raw, s.null)
		if s.held {
			half[1].add(t, s, r)
		} else {
			half[0].add(t, s, r)
		}
		if kinds[r.Clue] == nil {
			kinds[r.Clue] = map[string]bool{}
		}
		kinds[r.Clue][s.name[:strings.LastIndexByte(s.name, '-')]] = true
		samples[r.Clue]++
	}
	for i, name := range []string{"half looked at while writing", "half held back"} {
		h := half[i]
		t.Logf("%s: %d of %d bounces recognised, returned header found in %d of %d that carry one", name, h.bounces, h.seen, h.found, h.carry)
	}
	for c := NoClue; c < clues; c++ {
		if samples[c] > 0 {
			t.Logf("clue %-18v %3d samples of %2d kinds of server", c, samples[c], len(kinds[c]))
		}
	}
	if all := half[0].seen + half[1].seen; 100*(half[0].bounces+half[1].bounces) < 99*all {
		t.Errorf("fewer than 99 %% of %d bounces recognised", all)
	}
	if all := half[0].carry + half[1].carry; 100*(half[0].found+half[1].found) < 99*all {
		t.Errorf("fewer than 99 %% of %d returned headers found", all)
	}
}

// TestCorpusWithLess takes away what could be tuned to the samples, or be missing in life.
func TestCorpusWithLess(t *testing.T) {
	all, blind, mute := 0, 0, 0
	for _, s := range corpus(t, "bounces") {
		all++
		if Recognise(s.raw, false).Kind == Bounce {
			blind++
		}
		h, body := readHead(s.raw)
		h.null = s.null
		n := notice{head: &h, body: body, parts: walk(h.content, body).parts} // knows no server's words
		if k, _, _ := n.judge(); k == Bounce {
			mute++
		}
	}
	t.Logf("of all %d: %d when nobody tells of the null sender, %d with no server's own words", all, blind, mute)
	if 100*blind < 99*all || 100*mute < 97*all {
		t.Error("fewer than 99 % without the envelope, or fewer than 97 % without the words of servers")
	}
}

// TestCorpusOthers counts what is called a bounce and is none.
func TestCorpusOthers(t *testing.T) {
	want := map[string]Kind{"autoreplies": AutoReply, "feedback-reports": Feedback, "ordinary": Ordinary}
	for _, folder := range []string{"autoreplies", "feedback-reports", "ordinary"} {
		seen, right, bounces := 0, 0, 0
		for _, s := range corpus(t, folder) {
			seen++
			r := Recognise(s.raw, s.null)
			switch {
			case r.Kind == want[folder]:
				right++
			case r.Kind == Bounce && s.null && bytes.Contains(s.raw, []byte("automatic bounce notification")):
				t.Logf("%s/%s is a bounce, and says so itself", folder, s.name)
			case r.Kind == Bounce:
				bounces++
				t.Errorf("%s/%s is called a bounce by %v", folder, s.name, r.Clue)
			default:
				t.Logf("%s/%s is called %v by %v", folder, s.name, r.Kind, r.Clue)
			}
		}
		t.Logf("%s: %d of %d are called what they are, %d wrongly bounces", folder, right, seen, bounces)
	}
}
