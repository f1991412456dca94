package maillog

import "time"

// clock turns timestamps into seconds of the wall clock in one zone.
type clock struct {
	zone   *time.Location
	year   int   // of old timestamps
	latest int64 // none of them lies after this

	// What was last computed: logs have the same second, hour and day over and over.
	day    [10]byte
	dayAt  int64
	hour   int64 // in UTC
	offset int64 // of the zone then
}

func newClock(zone *time.Location, written time.Time) clock {
	c := clock{zone: zone, hour: -1}
	c.setWritten(written)
	return c
}

// setWritten says up to when there can be lines. A day is given, as clocks and zones differ.
func (c *clock) setWritten(t time.Time) {
	t = t.In(c.zone)
	c.year = t.Year()
	_, offset := t.Zone()
	c.latest = t.Unix() + int64(offset) + 24*3600
	c.day = [10]byte{}
}

// wall turns a moment into the seconds of the wall clock.
func (c *clock) wall(utc int64) int64 {
	hour := utc / 900
	if hour != c.hour {
		_, offset := time.Unix(utc, 0).In(c.zone).Zone()
		c.hour, c.offset = hour, int64(offset)
	}
	return utc + c.offset
}

var months = [12]string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}

// classic reads "Nov 22 14:00:00 " (RFC 3164, 4.1.2) and returns what follows.
func (c *clock) classic(b []byte) (at int64, rest []byte, ok bool) {
	if len(b) < 16 || b[3] != ' ' || b[6] != ' ' || b[15] != ' ' && b[15] != '.' {
		return 0, b, false
	}
	seconds, ok := timeOfDay(b[7:15])
	if !ok {
		return 0, b, false
	}
	rest = b[15:]
	if rest[0] == '.' {
		rest = fraction(rest)
	}
	if len(rest) == 0 || rest[0] != ' ' {
		return 0, b, false
	}
	rest = rest[1:]
	if string(b[:6]) != string(c.day[:6]) || c.day[6] != 'c' {
		day, ok := c.dayWithoutYear(b[:6])
		if !ok {
			return 0, b, false
		}
		copy(c.day[:], b[:6])
		c.day[6], c.dayAt = 'c', day
	}
	return c.dayAt + seconds, rest, true
}

// dayWithoutYear gives a day the latest year that it can have.
func (c *clock) dayWithoutYear(b []byte) (int64, bool) {
	month := 0
	for i, name := range months {
		if string(b[:3]) == name {
			month = i + 1
		}
	}
	if b[4] == ' ' {
		b = b[1:]
	}
	day := leading(b[4:])
	if month == 0 || day < 1 || day > 31 {
		return 0, false
	}
	for year := c.year + 1; year > c.year-9; year-- {
		t := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
		if t.Day() == day && t.Unix() <= c.latest { // or it is the 29th of February of another year
			return t.Unix(), true
		}
	}
	return 0, false
}

// iso reads "2026-11-22T14:00:00.123+01:00" and, as Exim writes it, "2026-11-22 14:00:00.123 +0100". What follows begins with its blank, or is empty.
func (c *clock) iso(b []byte) (at int64, rest []byte, ok bool) {
	if len(b) < 19 || b[4] != '-' || b[7] != '-' || b[10] != 'T' && b[10] != ' ' {
		return 0, b, false
	}
	seconds, ok := timeOfDay(b[11:19])
	if !ok {
		return 0, b, false
	}
	if string(b[:10]) != string(c.day[:]) {
		year, ok1 := number(b[:4])
		month, ok2 := number(b[5:7])
		day, ok3 := number(b[8:10])
		if !ok1 || !ok2 || !ok3 || month < 1 || month > 12 || day < 1 || day > 31 || year < 1980 || year > 2140 {
			return 0, b, false
		}
		c.dayAt = time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Unix()
		copy(c.day[:], b[:10])
	}
	at, rest = c.dayAt+seconds, b[19:]
	if len(rest) > 0 && (rest[0] == '.' || rest[0] == ',') {
		rest = fraction(rest)
	}
	offset, after, zoned := zoneOffset(rest)
	if zoned {
		return c.wall(at - offset), after, true
	}
	if len(rest) > 0 && rest[0] != ' ' {
		return 0, b, false
	}
	return at, rest, true
}

// zoneOffset reads "Z", "+01:00", "+0100" and " +0100", in seconds.
func zoneOffset(b []byte) (seconds int64, rest []byte, ok bool) {
	if len(b) > 0 && b[0] == 'Z' {
		return 0, b[1:], true
	}
	z := b
	if len(z) > 1 && z[0] == ' ' {
		z = z[1:]
	}
	if len(z) < 5 || z[0] != '+' && z[0] != '-' {
		return 0, b, false
	}
	minutes := z[3:]
	if minutes[0] == ':' {
		minutes = minutes[1:]
	}
	h, ok1 := number(z[1:3])
	if len(minutes) < 2 {
		return 0, b, false
	}
	m, ok2 := number(minutes[:2])
	if rest = minutes[2:]; !ok1 || !ok2 || len(rest) > 0 && rest[0] != ' ' {
		return 0, b, false
	}
	seconds = int64(h)*3600 + int64(m)*60
	if z[0] == '-' {
		seconds = -seconds
	}
	return seconds, rest, true
}

// timeOfDay reads "14:00:00".
func timeOfDay(b []byte) (int64, bool) {
	if b[2] != ':' || b[5] != ':' {
		return 0, false
	}
	for _, i := range [...]int{0, 1, 3, 4, 6, 7} {
		if !digit(b[i]) {
			return 0, false
		}
	}
	h, m, s := int64(b[0]-'0')*10+int64(b[1]-'0'), int64(b[3]-'0')*10+int64(b[4]-'0'), int64(b[6]-'0')*10+int64(b[7]-'0')
	return h*3600 + m*60 + s, h < 24 && m < 60 && s < 61
}

// fraction leaves ".123" out.
func fraction(b []byte) []byte {
	i := 1
	for i < len(b) && digit(b[i]) {
		i++
	}
	return b[i:]
}
