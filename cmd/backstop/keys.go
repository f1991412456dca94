package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"backstop/internal/config"
	"backstop/internal/keyfile"
	"backstop/internal/keyring"
)

func (a *app) keys() *cobra.Command {
	c := &cobra.Command{
		Use:   "keys",
		Short: "The keys of tags and seals: list, make, import, retire",
		Long: "The keys with which tags (BATV) and seals are made are in the file " + keyfile.Name + " of the\n" +
			"state folder. A running daemon takes changes over at once. No command prints a secret.",
		Example: "  backstop keys list\n  backstop keys new",
	}
	c.AddCommand(a.keysList(), a.keysNew(), a.keysImport(), a.keysRetire())
	group(c)
	return c
}

// withKeys opens the keys of the state folder for f: that of --state, or of the configuration.
func (a *app) withKeys(state string, f func(*keyfile.File) error) error {
	folder, err := a.stateFolder(state)
	if err != nil {
		return err
	}
	keys, err := keyfile.Open(folder, keyfile.Options{NoEvents: true})
	if errors.Is(err, fs.ErrPermission) {
		return hint("do it as the user who runs the daemon, or as root", "%w", err)
	}
	if err != nil {
		return err
	}
	defer keys.Close()
	if keys.State().Exposed {
		a.complainOne("warning: others than its owner may read "+keys.State().Path, "chmod 600 it; if somebody else had it, make a new key and retire the others")
	}
	return f(keys)
}

// stateFolder is where the daemon keeps what lasts. It is found also where the configuration has mistakes.
func (a *app) stateFolder(state string) (string, error) {
	if state == "" {
		var ok bool
		if state, ok = config.StateOf(a.file); !ok {
			if _, err := a.load(); err != nil {
				return "", withHint(err, "name the folder with --state DIR where there is no configuration")
			}
		}
	}
	if state == "" {
		return "", hint("set state = \"DIR\", or name the folder with --state DIR", "the configuration names no state folder, so its daemon has its keys in memory only")
	}
	return state, nil
}

// keyInfo is what is told of a key: everything but the secret.
type keyInfo struct {
	ID          keyring.ID  `json:"id"`
	State       string      `json:"state"` // signs, waits, verifies, retired
	Created     time.Time   `json:"created"`
	Imported    bool        `json:"imported,omitempty"`
	SignsFrom   *time.Time  `json:"signs_from,omitempty"`
	Instead     *keyring.ID `json:"instead,omitempty"`      // the key that signs from then on, where it is not this one
	NeededUntil *time.Time  `json:"needed_until,omitempty"` // missing: for as long as it signs, or not at all
	Retired     *time.Time  `json:"retired,omitempty"`
	FreeFrom    *time.Time  `json:"free_from,omitempty"` // when its number may be used again
}

func describeKey(f *keyfile.File, k keyring.Key, now time.Time) keyInfo {
	info := keyInfo{ID: k.ID, State: "verifies", Created: k.Created, Imported: k.Imported, SignsFrom: moment(k.SignsFrom), Retired: moment(k.Retired)}
	signer, signs := f.Ring().Signer(now)
	switch {
	case !k.Retired.IsZero() && !now.Before(k.Retired):
		info.State, info.FreeFrom = "retired", moment(k.Retired.Add(keyfile.Lifetime))
		return info
	case signs && signer.ID == k.ID:
		info.State = "signs"
	case k.SignsFrom.After(now): // of several that begin on one day the last one signs
		if next, ok := f.Ring().Signer(dayAfter(k.SignsFrom)); ok && next.ID != k.ID {
			info.Instead = &next.ID
		} else {
			info.State = "waits"
		}
	}
	if until, needed := keyfile.NeededUntil(f.Ring(), k, now); needed {
		info.NeededUntil = moment(until)
	}
	return info
}

// dayAfter is the first midnight (UTC) that is not before t: from then on a key signs.
func dayAfter(t time.Time) time.Time {
	const day = 24 * time.Hour
	return t.Add(day - 1).UTC().Truncate(day)
}

// moment is a time for JSON, where the zero time is left out.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (a *app) keysList() *cobra.Command {
	var state string
	c := &cobra.Command{
		Use:     "list",
		Short:   "Print the keys: which one signs, and until when the others are needed",
		Example: "  backstop keys list\n  backstop keys list --json --state /var/lib/backstop",
		Args:    wants(0, 0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			return a.withKeys(state, func(f *keyfile.File) error {
				now := time.Now()
				list := []keyInfo{}
				for _, k := range f.All().Keys() {
					list = append(list, describeKey(f, k, now))
				}
				slices.SortFunc(list, func(a, b keyInfo) int { return cmp.Compare(a.ID, b.ID) })
				if a.json {
					return a.printJSON(map[string]any{"file": f.State().Path, "keys": list})
				}
				a.printKeys(list, now)
				return nil
			})
		},
	}
	stateFlag(c, &state)
	return c
}

func (a *app) printKeys(list []keyInfo, now time.Time) {
	if len(list) == 0 {
		a.printf("there are no keys yet; `backstop keys new` makes one, and so does the daemon when it needs one\n")
		return
	}
	t := a.table("key", "made", "")
	for _, k := range list {
		t.AppendRow(table.Row{k.ID.String(), instant(k.Created), k.words(now)})
	}
	a.printTable(t)
}

// words says what a key does and until when.
func (k *keyInfo) words(now time.Time) string {
	switch {
	case k.State == "retired":
		return "was retired at " + instant(*k.Retired) + "; its number is free from " + instant(*k.FreeFrom)
	case k.State == "waits":
		return "signs from " + instant(*k.SignsFrom) + ", and verifies already"
	case k.Instead != nil && k.NeededUntil == nil:
		return fmt.Sprintf("verifies, and may be retired: key %v signs from %s in its place", *k.Instead, instant(*k.SignsFrom))
	case k.State == "signs" && k.NeededUntil == nil:
		return "signs"
	case k.NeededUntil == nil: // another one signs in its place before its day has come
		return "verifies"
	case !now.Before(*k.NeededUntil):
		return "verifies, and may be retired"
	case k.State == "signs":
		return "signs until another takes over, and is needed until " + instant(*k.NeededUntil)
	}
	return "verifies, and is needed until " + instant(*k.NeededUntil)
}

func (a *app) keysNew() *cobra.Command {
	var state string
	c := &cobra.Command{
		Use:   "new",
		Short: "Make a key, which signs from the next midnight (UTC)",
		Long: "Makes a key with a number of its own. It signs from the next midnight (UTC), since a tag\n" +
			"is the same for a whole day; where no key signs yet, at once. The key before it goes on\n" +
			"verifying until it is retired.",
		Example: "  backstop keys new",
		Args:    wants(0, 0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			return a.withKeys(state, func(f *keyfile.File) error {
				now := time.Now()
				made, err := f.New(now)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(describeKey(f, made, now))
				}
				a.printMade(f, made, now)
				return nil
			})
		},
	}
	stateFlag(c, &state)
	return c
}

// printMade says what a new key does, and what becomes of the one that signed until now.
func (a *app) printMade(f *keyfile.File, made keyring.Key, now time.Time) {
	signer, signs := f.Ring().Signer(now)
	switch {
	case made.SignsFrom.IsZero():
		a.printf("key %v verifies, and never signs\n", made.ID)
	case !signs || signer.ID == made.ID:
		a.printf("key %v signs from now on\n", made.ID)
	default:
		a.printf("key %v signs from %s; key %v signs until then, and goes on verifying\n", made.ID, instant(made.SignsFrom), signer.ID)
		if until := f.Ring().Needed(signer.ID, keyfile.Lifetime); !until.IsZero() {
			a.printf("key %v may be retired from %s: backstop keys retire %v\n", signer.ID, instant(until), signer.ID)
		}
	}
}

func (a *app) keysRetire() *cobra.Command {
	var state string
	var force bool
	c := &cobra.Command{
		Use:   "retire ID",
		Short: "Take a key out of use: it neither signs nor verifies any more",
		Long: "Refused while something that the key signed can be under way: the command then says until\n" +
			"when. A key that has leaked is retired at once with --force; if it signs and no other does,\n" +
			"the next one begins now, and where there is none one is made.",
		Example: "  backstop keys retire 2\n  backstop keys retire 3 --force",
		Args:    wants(1, 1, "the number of a key"),
		RunE: func(_ *cobra.Command, args []string) error {
			id, err := keyring.ParseID(args[0])
			if err != nil {
				return hint("`backstop keys list` shows the keys", "%w", err)
			}
			return a.withKeys(state, func(f *keyfile.File) error {
				now := time.Now()
				before, signed := f.Ring().Signer(now)
				known := f.All()
				if err := f.Retire(id, now, force); err != nil {
					return err
				}
				k, _ := keyOf(f.All(), id)
				if a.json {
					return a.printJSON(describeKey(f, k, k.Retired))
				}
				a.printf("key %v is retired: it neither signs nor verifies any more\n", id)
				if next, ok := f.Ring().Signer(now); ok && signed && next.ID != before.ID {
					how := ""
					if _, old := keyOf(known, next.ID); !old {
						how = ", made just now,"
					}
					a.printf("key %v%s signs from now on\n", next.ID, how)
				}
				return nil
			})
		},
	}
	c.Flags().BoolVar(&force, "force", false, "also a key that is still needed, because it has leaked: bounces of what it signed are no longer proven")
	stateFlag(c, &state)
	return c
}

func keyOf(r keyring.Ring, id keyring.ID) (keyring.Key, bool) {
	for _, k := range r.Keys() {
		if k.ID == id {
			return k, true
		}
	}
	return keyring.Key{}, false
}

// importKeyFlags are those of keys import.
type importKeyFlags struct {
	id, file   string
	verifyOnly bool
	raw        bool
}

func (a *app) keysImport() *cobra.Command {
	var state string
	var f importKeyFlags
	c := &cobra.Command{
		Use:   "import --id N --secret-file FILE",
		Short: "Take over the secret of another signer, such as Exim",
		Long: "Takes over the secret that another signer uses, so that its tags are known here and ours\n" +
			"there. The number is the one that it writes into its tags; Exim writes 0 where it is told\n" +
			"none. With --verify-only nothing is signed with it: for the signer that is replaced, and for\n" +
			"secrets of less than 16 octets, which do not sign here.\n\n" +
			"FILE holds the secret and nothing else; - is the standard input. A line end behind it is\n" +
			"left out, as Exim's lookups and postsrsd leave it out; with --raw it counts, as in Exim's\n" +
			"${readfile{FILE}}.\n\n" +
			"postsrsd's file needs no import: the configuration names it ([srs] secret_file).",
		Example: "  backstop keys import --id 0 --secret-file /etc/exim4/prvs.secret --verify-only\n" +
			"  head -n 1 secrets | backstop keys import --id 5 --secret-file -",
		Args: wants(0, 0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			id, err := f.number()
			if err != nil {
				return err
			}
			secret, note, err := a.readSecret(f)
			if err != nil {
				return err
			}
			return a.withKeys(state, func(file *keyfile.File) error {
				now := time.Now()
				made, err := file.Import(id, secret, f.verifyOnly, now)
				if err != nil {
					return err
				}
				if len(secret) < keyfile.MinSigns {
					a.complainOne("warning: the secret has "+octets(len(secret))+", and who sees a tag of it can try all that are so short", "retire it when the other signer is gone")
				}
				if a.json {
					return a.printJSON(describeKey(file, made, now))
				}
				a.printMade(file, made, now)
				a.printf("its secret has %s%s\n", octets(len(secret)), note)
				return nil
			})
		},
	}
	c.Flags().StringVar(&f.id, "id", "", "the `NUMBER` of the key in tags, 0 to 9")
	c.Flags().StringVar(&f.file, "secret-file", "", "the `FILE` that holds the secret; - is the standard input")
	c.Flags().BoolVar(&f.verifyOnly, "verify-only", false, "know its tags, and never sign with it")
	c.Flags().BoolVar(&f.raw, "raw", false, "take every octet of the file, a line end too")
	stateFlag(c, &state)
	return c
}

func octets(n int) string { return fmt.Sprintf("%d %s", n, plural(n, "octet", "octets")) }

// number is --id, once both flags are there.
func (f *importKeyFlags) number() (keyring.ID, error) {
	if f.id == "" || f.file == "" {
		return 0, hint("`backstop keys import --help` shows an example", "import needs --id NUMBER and --secret-file FILE")
	}
	id, err := keyring.ParseID(f.id)
	if err != nil {
		return 0, hint("it is the first digit of the other signer's tags: prvs=NDDDSSSSSS=…", "--id: %w", err)
	}
	return id, nil
}

// readSecret reads the secret, and says what was left out of the file.
func (a *app) readSecret(f importKeyFlags) (secret []byte, note string, err error) {
	in, name := a.in, "the standard input"
	if f.file != "-" {
		file, err := os.Open(f.file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, "", hint("name the file that holds the other signer's secret and nothing else; - is the standard input", "%w", err)
		}
		if err != nil {
			return nil, "", hint("do it as root, or give the secret on the standard input: --secret-file -", "%w", err)
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil && info.IsDir() {
			return nil, "", hint("name the file in it that holds the other signer's secret and nothing else", "%s is a folder", f.file)
		}
		in, name = file, f.file
	}
	data, err := io.ReadAll(io.LimitReader(in, keyfile.MaxSecret+3)) // a line end besides
	if err != nil {
		return nil, "", err
	}
	if f.raw {
		return data, "", nil
	}
	secret = bytes.TrimRight(data, "\r\n")
	switch {
	case len(secret) == 0:
		return nil, "", hint("it holds the other signer's secret and nothing else", "%s holds no secret", name)
	case bytes.ContainsAny(secret, "\r\n"):
		return nil, "", hint("give it one line: head -n 1 FILE | backstop keys import --secret-file - …; octets that happen to be line ends are taken with --raw", "%s has several lines, and a key has one secret", name)
	case len(secret) < len(data):
		note = "; the line end behind it was left out"
	}
	if strings.TrimSpace(string(secret)) != string(secret) {
		note += "; the spaces around it are part of it"
	}
	return secret, note, nil
}
