package record

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestIDs(t *testing.T) {
	var long []string
	for i := range 30 {
		long = append(long, fmt.Sprintf("<%d@example.com>", i))
	}
	for _, tt := range []struct {
		values []string
		want   string
	}{
		{nil, ""},
		{[]string{"", " ", "<>", "< >"}, ""},
		{[]string{"<a@b>"}, "a@b"},
		{[]string{" bare@b \r\n"}, "bare@b"},
		{[]string{"<a@b>", "<c@d> <a@b>", "<a@b>\r\n <c@d>\r\n\t<E@f>"}, "a@b c@d E@f"},
		{[]string{`"Ann's letter of 1 May" <a@b>`}, "a@b"},
		{[]string{"<a@b"}, "a@b"},
		{[]string{"<a@b> and words"}, "a@b"},
		{[]string{"<a@b><c@d>"}, "a@b c@d"},
		{[]string{"<x <a@b>>"}, "a@b"},
		{[]string{"<first@b>", strings.Join(long, " ")}, "first@b " + strings.NewReplacer("<", "", ">", "").Replace(strings.Join(long[11:], " "))},
	} {
		if got := strings.Join(IDs(tt.values...), " "); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.values, got, tt.want)
		}
	}
}

func FuzzIDs(f *testing.F) {
	for _, s := range []string{"<a@b>", "a@b", "<a@b> <c@d>", "<<a>>", "<", ">", "<>", "<a\r\n b@c>", "><", "<\xff>", strings.Repeat("<a>", 50)} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		all := IDs(a, b)
		if len(all) > MaxIDs {
			t.Fatalf("%d taken", len(all))
		}
		for i, id := range all {
			if id == "" || len(id) > MaxID || strings.ContainsAny(id, "<> \t\r\n") {
				t.Fatalf("%q taken for a Message-ID", id)
			}
			if slices.Contains(all[:i], id) {
				t.Fatalf("%q twice", id)
			}
			for _, s := range []string{id, "<" + id + ">"} {
				if again, ok := clean(s); !ok || again != id {
					t.Fatalf("%q becomes %q", s, again)
				}
			}
		}
	})
}
