package mailtest

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Dialogue is one parsed dialogue file; the package comment has the format.
type Dialogue struct {
	Name  string // the file's name without folder and ending
	only  [][]string
	not   []string
	mock  bool // scripts or questions the mock
	steps []step
}

type step struct {
	line int
	text string
	do   func(*player) error
}

// Fits says whether the dialogue is for a peer with these tags: its name, and
// whatever else its stage is known by. What is scripted needs the tag "mock".
func (d *Dialogue) Fits(tags ...string) bool {
	if d.mock && !slices.Contains(tags, "mock") {
		return false
	}
	for _, any := range d.only {
		if !slices.ContainsFunc(any, func(w string) bool { return slices.Contains(tags, w) }) {
			return false
		}
	}
	return !slices.ContainsFunc(d.not, func(w string) bool { return slices.Contains(tags, w) })
}

// LoadDialogues reads all files that the pattern names; none is a failure.
func LoadDialogues(t testing.TB, pattern string) []*Dialogue {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues at %s (%v)", pattern, err)
	}
	var all []*Dialogue
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		d, err := ParseDialogue(f, data)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// ParseDialogue reads one dialogue. An error names file and line.
func ParseDialogue(file string, data []byte) (*Dialogue, error) {
	base := filepath.Base(file)
	d := &Dialogue{Name: strings.TrimSuffix(base, filepath.Ext(base))}
	sc := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; sc.Scan(); n++ {
		line := sc.Text()
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		do, err := d.parseLine(filepath.Dir(file), line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
		if do != nil {
			d.steps = append(d.steps, step{n, line, do})
		}
	}
	return d, sc.Err()
}

type parser func(d *Dialogue, dir, arg string) (func(*player) error, error)

// vocabulary is every word that a line may begin with.
var vocabulary = map[string]parser{
	"only:": func(d *Dialogue, _, arg string) (func(*player) error, error) {
		d.only = append(d.only, strings.Fields(arg))
		return nil, nil
	},
	"not:": func(d *Dialogue, _, arg string) (func(*player) error, error) {
		d.not = append(d.not, strings.Fields(arg)...)
		return nil, nil
	},
	"C:": unescaped((*player).sayLine),
	"D:": unescaped((*player).sayContent),
	"S:": func(_ *Dialogue, _, arg string) (func(*player) error, error) {
		w, err := parseWant(arg)
		return func(p *player) error { return p.expect(w, arg) }, err
	},
	".":          plain((*player).sayEnd),
	"message":    parseMessage,
	"file":       parseFile,
	"chunks":     parseChunks,
	"bdat":       parseBdat,
	"raw":        quoted((*player).sayRaw),
	"raw-end":    quoted((*player).sayRawEnd),
	"flush":      plain((*player).flush),
	"one-by-one": plain(func(p *player) error { p.slow = true; return nil }),
	"whole":      plain(func(p *player) error { err := p.flush(); p.slow = false; return err }),
	"close":      plain(func(p *player) error { return p.hangUp((*Talk).Close) }),
	"reset":      plain(func(p *player) error { return p.hangUp((*Talk).Reset) }),
	"wait-close": plain((*player).waitClose),
	"connect":    plain((*player).connect),
	"from": func(_ *Dialogue, _, arg string) (func(*player) error, error) {
		return func(p *player) error { p.source = arg; return nil }, nil
	},
	"on":     parseOn,
	"offers": parseOffers,
	"users":  parseUsers,
	"off":    scripted(func(p *player) error { p.stage.Mock.Set(p.script); return nil }),
	"down":   scripted(func(p *player) error { p.stage.Mock.Down(); return nil }),
	"up":     scripted(func(p *player) error { p.stage.Mock.Up(); return nil }),
	"hangup": scripted(func(p *player) error { p.stage.Mock.Hangup(); return nil }),
	"held": func(_ *Dialogue, _, arg string) (func(*player) error, error) {
		n, err := strconv.Atoi(arg)
		return func(p *player) error { return p.held(n) }, err
	},
	"held-to": func(_ *Dialogue, _, arg string) (func(*player) error, error) {
		to := strings.Fields(arg)
		return func(p *player) error { return p.heldTo(to) }, nil
	},
	"held-from": func(_ *Dialogue, _, arg string) (func(*player) error, error) {
		return func(p *player) error { return p.heldFrom(strings.Trim(arg, "<>")) }, nil
	},
	"held-has":    quoted(func(p *player, s string) error { return p.heldText(s, true) }),
	"held-not":    quoted(func(p *player, s string) error { return p.heldText(s, false) }),
	"asked":       parseAsked((*player).asked),
	"never-asked": parseAsked((*player).neverAsked),
}

func (d *Dialogue) parseLine(dir, line string) (func(*player) error, error) {
	word, arg, _ := strings.Cut(line, " ")
	parse := vocabulary[word]
	if parse == nil {
		return nil, fmt.Errorf("%q is not a word of dialogues", word)
	}
	return parse(d, dir, arg)
}

func plain(do func(*player) error) parser {
	return func(_ *Dialogue, _, arg string) (func(*player) error, error) {
		if arg != "" {
			return nil, fmt.Errorf("nothing may follow here, and %q does", arg)
		}
		return do, nil
	}
}

func scripted(do func(*player) error) parser {
	return func(d *Dialogue, dir, arg string) (func(*player) error, error) {
		d.mock = true
		return plain(do)(d, dir, arg)
	}
}

func quoted(do func(*player, string) error) parser {
	return func(_ *Dialogue, _, arg string) (func(*player) error, error) {
		s, err := strconv.Unquote(arg)
		if err != nil {
			return nil, fmt.Errorf("%s is not a quoted string", arg)
		}
		return func(p *player) error { return do(p, s) }, nil
	}
}

// escapes are few, so that the backslashes of quoted local parts need no care.
var escape = regexp.MustCompile(`\\(x[0-9a-fA-F]{2}|[rnt0\\])`)

func unescaped(do func(*player, string) error) parser {
	return func(_ *Dialogue, _, arg string) (func(*player) error, error) {
		s := escape.ReplaceAllStringFunc(arg, func(e string) string {
			switch e[1] {
			case 'x':
				n, _ := strconv.ParseUint(e[2:], 16, 8) // two hex digits, says the pattern
				return string([]byte{byte(n)})
			case 'r':
				return "\r"
			case 'n':
				return "\n"
			case 't':
				return "\t"
			case '0':
				return "\x00"
			}
			return `\`
		})
		return func(p *player) error { return do(p, s) }, nil
	}
}

func parseMessage(_ *Dialogue, _, arg string) (func(*player) error, error) {
	size, tex, _ := strings.Cut(arg, " ")
	n, err := strconv.Atoi(size)
	texture, ok := textureNames[tex]
	if err != nil || !ok || n < 64 {
		return nil, fmt.Errorf("message SIZE [7bit|8bit|long] is wanted, SIZE at least 64")
	}
	return func(p *player) error { return p.sayMessage(Generate(p.seed(), n, texture)) }, nil
}

func parseFile(_ *Dialogue, dir, arg string) (func(*player) error, error) {
	body, err := os.ReadFile(filepath.Join(dir, arg))
	return func(p *player) error { return p.sayMessage(body) }, err
}

func parseChunks(_ *Dialogue, _, arg string) (func(*player) error, error) {
	size, last, _ := strings.Cut(arg, " ")
	n, err := strconv.Atoi(size)
	if err != nil || n < 0 || n > 0 && n < 3 || last != "" && last != "last" {
		return nil, fmt.Errorf("chunks SIZE [last] is wanted, SIZE 0 or at least 3")
	}
	return func(p *player) error { return p.sayChunk(n, p.stream(n), last != "") }, nil
}

func parseBdat(_ *Dialogue, _, arg string) (func(*player) error, error) {
	head, text, _ := strings.Cut(arg, `"`)
	f := strings.Fields(head)
	octets, err := strconv.Unquote(`"` + text)
	if err != nil || len(f) == 0 || len(f) == 2 && f[1] != "last" {
		return nil, fmt.Errorf(`bdat SIZE [last] "octets" is wanted`)
	}
	n, err := strconv.Atoi(f[0])
	return func(p *player) error { return p.sayChunk(n, []byte(octets), len(f) == 2) }, err
}

// parseOn reads: VERB [/regexp/] [keep] [once] [silent|hangup] [reply].
func parseOn(d *Dialogue, _, arg string) (func(*player) error, error) {
	d.mock = true
	verb, rest, _ := strings.Cut(arg, " ")
	r := Rule{On: strings.ToUpper(verb)}
	if strings.HasPrefix(rest, "/") {
		pattern, after, ok := strings.Cut(rest[1:], "/ ")
		re, err := regexp.Compile(pattern)
		if err != nil || !ok {
			return nil, fmt.Errorf("not a regular expression between slashes: %s", rest)
		}
		r.Match, rest = re, after
	}
	for rest != "" && r.Reply == "" {
		word, after, _ := strings.Cut(rest, " ")
		switch word {
		case "keep":
			r.Keep = true
		case "once":
			r.Times = 1
		case "silent":
			r.Silent = true
		case "hangup":
			r.Hangup = true
		default:
			r.Reply = strings.ReplaceAll(rest, `\n`, "\n")
			continue
		}
		rest = after
	}
	return func(p *player) error {
		p.stage.Mock.On(r)
		return nil
	}, nil
}

func parseOffers(d *Dialogue, _, arg string) (func(*player) error, error) {
	d.mock = true
	list := []string{}
	for x := range strings.SplitSeq(arg, ",") {
		if x = strings.TrimSpace(x); x != "" {
			list = append(list, x)
		}
	}
	return func(p *player) error {
		p.stage.Mock.Change(func(s *Script) { s.Extensions = list })
		return nil
	}, nil
}

func parseUsers(d *Dialogue, _, arg string) (func(*player) error, error) {
	d.mock = true
	return func(p *player) error {
		p.stage.Mock.Change(func(s *Script) { s.Users = strings.Fields(arg) })
		return nil
	}, nil
}

func parseAsked(do func(*player, *regexp.Regexp) error) parser {
	return func(d *Dialogue, _, arg string) (func(*player) error, error) {
		d.mock = true
		re, err := regexp.Compile(strings.Trim(arg, "/"))
		return func(p *player) error { return do(p, re) }, err
	}
}
