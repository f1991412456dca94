package synced

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"backstop/internal/evidence"
)

// town is a directory of 20 people with an address each, ten of them with a second one in another domain,
// and one with many in a third.
func town(how int) *fake {
	f := newFake(how).fill(20)
	for i := range 10 {
		f.put(fmt.Sprint("id", i), fmt.Sprintf("user%d@example.com", i), fmt.Sprintf("user%d@example.org", i))
	}
	var many []string
	for i := range 8 {
		many = append(many, fmt.Sprintf("alias%d@example.net", i))
	}
	f.put("info", append(many, "info@example.net")...)
	return f
}

func TestShrinkGuard(t *testing.T) {
	leave := func(f *fake, from, to int) {
		for i := from; i < to; i++ {
			f.put(fmt.Sprint("id", i))
		}
	}
	for _, tt := range []struct {
		what   string
		change func(f *fake)
		held   string // "": taken
		plain  string // where that is another thing without ids
	}{
		{what: "a few leave", change: func(f *fake) { leave(f, 10, 14) }},
		{what: "a fifth and one leave", change: func(f *fake) { leave(f, 10, 15) }, held: "example.com loses 5 of 20"},
		{what: "a fifth leaves and as many come", change: func(f *fake) {
			leave(f, 10, 15)
			for i := range 5 {
				f.put(fmt.Sprint("new", i), fmt.Sprintf("new%d@example.com", i))
			}
		}, held: "example.com loses 5 of 20"},
		{what: "they move to other objects", change: func(f *fake) {
			leave(f, 10, 20)
			for i := 10; i < 20; i++ {
				f.put(fmt.Sprint("other", i), fmt.Sprintf("user%d@example.com", i))
			}
		}},
		{what: "second addresses are not seen any more", change: func(f *fake) {
			for i := range 10 {
				f.put(fmt.Sprint("id", i), fmt.Sprintf("user%d@example.com", i))
			}
		}, held: "example.org loses 10 of 10"},
		{what: "one with a whole domain leaves", change: func(f *fake) { f.put("info") }, plain: "example.net loses 9 of 9"},
		{what: "he loses half of them", change: func(f *fake) { f.put("info", "info@example.net", "alias1@example.net", "alias2@example.net") }, plain: "example.net loses 6 of 9"},
		{what: "everybody leaves", change: func(f *fake) { leave(f, 0, 20); f.put("info") },
			held: "example.com loses 20 of 20, example.org loses 10 of 10", plain: "example.com loses 20 of 20, example.org loses 10 of 10, example.net loses 9 of 9"},
	} {
		for _, how := range []int{deltas, lists, never, plain} {
			w := newWorld(t, town(how))
			s := w.opened()
			before := w.files()
			tt.change(w.dir)
			want := tt.held
			if how == plain && tt.plain != "" {
				want = tt.plain
			}
			r, err := s.Sync(t.Context(), false)
			if want == "" {
				if err != nil || !r.Changed && how != plain {
					t.Errorf("%s, %d: %v %+v", tt.what, how, err, r.Held)
				}
				w.knows(s)
				continue
			}
			if !errors.Is(err, ErrHeld) || r.Held == nil || !strings.HasSuffix(err.Error(), want) || r.Changed {
				t.Fatalf("%s, %d: %v", tt.what, how, err)
			}
			if fmt.Sprint(before) != fmt.Sprint(w.files()) {
				t.Errorf("%s, %d: something was written", tt.what, how)
			}
			w.says(s, evidence.Exists, "user0@example.com", "user19@example.com", "user9@example.org", "info@example.net")
			if st := s.State(); st.Held == nil || st.Held.String() != want || st.Err != nil || st.Held.Before != 39 || st.Held.After != r.Held.After {
				t.Errorf("%s, %d: %+v", tt.what, how, st)
			}
			if _, err := s.Sync(t.Context(), false); !errors.Is(err, ErrHeld) {
				t.Errorf("%s, %d: %v", tt.what, how, err)
			}
			if n := strings.Count(w.log.String(), "a pull was held back"); n != 1 {
				t.Errorf("%s, %d: told %d times", tt.what, how, n)
			}
			if r := w.sync(s, true); !r.Changed || r.Held != nil || s.State().Held != nil {
				t.Errorf("%s, %d: %+v", tt.what, how, r)
			}
			w.knows(s)
		}
	}
}

// A pull that no longer loses so much is taken without anybody's word.
func TestHeldUntilItLosesLess(t *testing.T) {
	for _, how := range []int{deltas, lists, plain} {
		w := newWorld(t, town(how))
		s := w.opened()
		for i := range 20 {
			w.dir.put(fmt.Sprint("id", i))
		}
		if _, err := s.Sync(t.Context(), false); !errors.Is(err, ErrHeld) {
			t.Fatal(err)
		}
		s.Close() // a restart is no confirmation
		s = w.open()
		if _, err := s.Sync(t.Context(), false); !errors.Is(err, ErrHeld) {
			t.Fatal(err)
		}
		w.says(s, evidence.Exists, "user0@example.com")
		for i := range 19 {
			w.dir.put(fmt.Sprint("id", i), fmt.Sprintf("user%d@example.com", i), fmt.Sprintf("user%d@example.org", i))
		}
		w.sync(s, false)
		w.knows(s)
		if s.State().Held != nil {
			t.Error("still held")
		}
	}
}

// Whoever confirms a loss does not confirm a greater one that he has not seen.
func TestConfirmedIsWhatWasShown(t *testing.T) {
	w := newWorld(t, town(deltas))
	s := w.opened()
	for i := range 6 {
		w.dir.put(fmt.Sprint("id", 10+i))
	}
	if _, err := s.Sync(t.Context(), false); !errors.Is(err, ErrHeld) {
		t.Fatal(err)
	}
	for i := range 16 {
		w.dir.put(fmt.Sprint("id", i))
	}
	r, err := s.Sync(t.Context(), true)
	if !errors.Is(err, ErrHeld) || r.Held.String() != "example.com loses 16 of 20, example.org loses 10 of 10" {
		t.Errorf("%v", err)
	}
	w.says(s, evidence.Exists, "user1@example.com")
	w.sync(s, true)
	w.knows(s)
}

// A wrong filter must not refuse everybody.
func TestFirstPullFindsNobody(t *testing.T) {
	for _, how := range []int{deltas, lists, plain} {
		w := newWorld(t, newFake(how))
		s := w.open()
		r, err := s.Sync(t.Context(), false)
		if !errors.Is(err, ErrHeld) || r.Held == nil || len(r.Held.Domains) != 0 {
			t.Errorf("%v %+v", err, r)
		}
		if r := s.Rule("ann@example.com"); r.Standing != evidence.Unavailable || !strings.Contains(r.Detail, "found nobody") {
			t.Errorf("%+v", r)
		}
		w.sync(s, true)
		w.says(s, evidence.Missing, "ann@example.com")
		w.dir.put("1", "ann@example.com")
		w.sync(s, false)
		w.knows(s)
		w.dir.put("1") // one is never too many
		w.sync(s, false)
		w.says(s, evidence.Missing, "ann@example.com")
	}
}

// Other settings, and a damaged copy, leave the counts to hold the first pull against.
func TestUnusedCopyIsCounted(t *testing.T) {
	damage := func(w *world, s *Source) {
		file, err := os.ReadFile(s.files.snapshot)
		if err != nil {
			t.Fatal(err)
		}
		file[len(file)-1] ^= 1
		w.put(map[string]string{s.files.snapshot: string(file)})
	}
	for _, how := range []int{deltas, plain} {
		for what, change := range map[string]func(w *world, s *Source){
			"another filter": func(w *world, _ *Source) { w.cfg.Identity = "it, with another filter" },
			"another alias": func(w *world, _ *Source) {
				w.cfg.Identity = "it, with an alias"
				w.cfg.Canonical = func(d string) string { return strings.Replace(d, "example.org", "example.com", 1) }
			},
			"damage": damage,
		} {
			w := newWorld(t, town(how))
			s := w.opened()
			s.Close()
			change(w, s)
			if what == "another alias" { // ten have the same address at both, and nobody is lost
				s = w.open()
				w.sync(s, false)
				w.says(s, evidence.Exists, "user7@example.com", "user17@example.com")
				if n := s.State().Entries; n != 29 {
					t.Errorf("%s: %d entries", what, n)
				}
				s.Close()
				continue
			}
			for i := 1; i < 20; i++ {
				w.dir.put(fmt.Sprint("id", i))
			}
			kept := w.files()
			for range 2 { // a restart is no confirmation
				s = w.open()
				r, err := s.Sync(t.Context(), false)
				if !errors.Is(err, ErrHeld) || r.Held.String() != "example.com loses 19 of 20, example.org loses 9 of 10" || r.Held.Before != 39 {
					t.Errorf("%s: %v %+v", what, err, r)
				}
				if r := s.Rule("user7@example.com"); r.Standing != evidence.Unavailable || !strings.Contains(r.Detail, "loses too many recipients") {
					t.Errorf("%s: %+v", what, r)
				}
				s.Close()
			}
			if fmt.Sprint(kept) != fmt.Sprint(w.files()) {
				t.Errorf("%s: a pull that is held changed the files", what)
			}
			if what == "another filter" { // a mistake that is mended
				w.cfg.Identity = "it"
				s, err := Open(w.cfg)
				if err != nil {
					t.Fatal(err)
				}
				w.says(s, evidence.Exists, "user7@example.com", "user7@example.org")
				w.cfg.Identity = "it, with another filter"
			}
			s = w.open()
			w.sync(s, true)
			if st := s.State(); st.Held != nil || st.Entries != 11 {
				t.Errorf("%s: %+v", what, st)
			}
			s.Close()
		}
	}
}

// Settings that find no fewer are taken over without a question.
func TestOtherSettingsThatLoseNobody(t *testing.T) {
	w := newWorld(t, town(deltas))
	w.opened().Close()
	w.cfg.Identity = "another"
	s := w.open()
	w.sync(s, false)
	w.knows(s)
}

// A pull that fails in between makes nobody forget what is held back, and what it is.
func TestHeldOverAFailure(t *testing.T) {
	w := newWorld(t, newFake(deltas).fill(100))
	s := w.opened()
	for i := range 30 {
		w.dir.put(fmt.Sprint("id", i))
	}
	if _, err := s.Sync(t.Context(), false); !errors.Is(err, ErrHeld) {
		t.Fatal(err)
	}
	w.dir.set(func() { w.dir.fails = 1 })
	if _, err := s.Sync(t.Context(), true); !errors.Is(err, errDown) {
		t.Fatal(err)
	}
	if st := s.State(); st.Held == nil || st.Held.String() != "example.com loses 30 of 100" || !errors.Is(st.Err, errDown) {
		t.Errorf("%+v", st)
	}
	w.dir.set(func() { w.dir.fails = 0 })
	for i := 30; i < 99; i++ {
		w.dir.put(fmt.Sprint("id", i))
	}
	if _, err := s.Sync(t.Context(), true); !errors.Is(err, ErrHeld) {
		t.Errorf("who confirmed 30 has confirmed 99: %v", err)
	}
	w.says(s, evidence.Exists, "user50@example.com")
	w.sync(s, true)
	w.knows(s)
}

// Where nothing is held back, a confirmation is of nothing.
func TestConfirmedUnseen(t *testing.T) {
	w := newWorld(t, newFake(deltas).fill(100))
	s := w.opened()
	for i := range 30 {
		w.dir.put(fmt.Sprint("id", i))
	}
	if r, err := s.Sync(t.Context(), true); !errors.Is(err, ErrHeld) || r.Held == nil {
		t.Errorf("%v %+v", err, r)
	}
	w.sync(s, true)
	w.knows(s)
}
