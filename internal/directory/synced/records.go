package synced

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"

	"backstop/internal/directory/snapshot"
)

// mark is what the files of one copy have in common, and no other file has.
type mark [16]byte

func newMark() (m mark) {
	rand.Read(m[:])
	return m
}

func (m mark) String() string { return hex.EncodeToString(m[:]) }

// record says that an object has an address. A record without one (the zero Hash) says that
// all records of the object before it do not hold.
type record struct {
	object, address snapshot.Hash
	domain          uint32 // index of the address's domain among the names; elsewhere: beyond them
}

const (
	recordSize = 2*snapshot.HashSize + 4
	elsewhere  = 1<<32 - 1
)

// Objects are kept in blocks. All numbers have their lowest octet first.
//
//	8 4    magic, version
//	16     mark
//	       blocks:
//	1      what it is
//	4      octets of its content
//	4      CRC-32C of mark, number of the block (8 octets), the five octets above, content
//	       the content:
//	names    2 name: domains, numbered from 0 through all blocks
//	records  16 16 4: object, address, number of the domain, which has been named
//	end      8 8 16: records, objects, sum; it is the last block, and nothing comes after it
const (
	objectsMagic   = "backobjs"
	objectsVersion = 1
	headSize       = 8 + 4 + 16
	blockHead      = 1 + 4 + 4
	blockSize      = 1800 * recordSize // some 64 KiB
)

const (
	blockNames byte = iota + 1
	blockRecords
	blockEnd
)

var errObjects = errors.New("what is kept of the objects cannot be used")

func unusable(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errObjects, fmt.Sprintf(format, args...))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// totals are of a sequence of records.
type totals struct {
	Records, Objects uint64
	// Sum is the same for the same records, in whatever order.
	Sum snapshot.Hash
}

func (t *totals) equal(o *totals) bool { return *t == *o }

// recordWriter writes records. What goes wrong is said by finish, and nothing is written from then on.
type recordWriter struct {
	w      io.Writer
	key    snapshot.Key
	mark   mark
	block  uint64
	head   [blockHead]byte
	buf    []byte // records that are not written yet
	fresh  []byte // names that are not written yet
	names  map[string]uint32
	last   string // a name, and its number
	lastNo uint32
	object snapshot.Hash // of the last record
	totals totals
	err    error
}

func newRecordWriter(w io.Writer, key snapshot.Key, m mark) *recordWriter {
	rw := &recordWriter{w: w, key: key, mark: m, buf: make([]byte, 0, blockSize), names: map[string]uint32{}, lastNo: elsewhere}
	head := binary.LittleEndian.AppendUint32([]byte(objectsMagic), objectsVersion)
	rw.write(append(head, m[:]...))
	return rw
}

func (w *recordWriter) write(b []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(b)
	}
}

// domain returns the number of a name.
func (w *recordWriter) domain(name string) uint32 {
	if name == w.last && w.lastNo != elsewhere {
		return w.lastNo
	}
	no, known := w.names[name]
	if !known {
		if len(w.names) == snapshot.MaxDomains || len(name) > 1<<16-1 {
			return elsewhere
		}
		no = uint32(len(w.names))
		w.names[name] = no
		w.fresh = binary.LittleEndian.AppendUint16(w.fresh, uint16(len(name)))
		w.fresh = append(w.fresh, name...)
	}
	w.last, w.lastNo = name, no
	return no
}

// put writes a record, whose domain is what domain said.
func (w *recordWriter) put(r record) {
	w.buf = r.object.Append(w.buf)
	w.buf = r.address.Append(w.buf)
	w.totals.add(w.key, &r, w.buf[len(w.buf)-2*snapshot.HashSize:], w.object)
	w.object = r.object
	w.buf = binary.LittleEndian.AppendUint32(w.buf, r.domain)
	if len(w.buf) == blockSize {
		w.flush()
	}
}

// add counts a record of these octets that comes after one of the object before.
func (t *totals) add(key snapshot.Key, r *record, octets []byte, before snapshot.Hash) {
	t.Records++
	if r.object != before {
		t.Objects++
	}
	t.Sum = t.Sum.Plus(key.SumBytes(octets))
}

func (w *recordWriter) flush() {
	if len(w.fresh) > 0 {
		w.writeBlock(blockNames, w.fresh)
		w.fresh = w.fresh[:0]
	}
	if len(w.buf) > 0 {
		w.writeBlock(blockRecords, w.buf)
		w.buf = w.buf[:0]
	}
}

func (w *recordWriter) writeBlock(kind byte, content []byte) {
	w.head[0] = kind
	binary.LittleEndian.PutUint32(w.head[1:], uint32(len(content)))
	binary.LittleEndian.PutUint32(w.head[5:], blockSum(w.mark, w.block, w.head[:5], content))
	w.block++
	w.write(w.head[:])
	w.write(content)
	runtime.Gosched() // a block is some 0.1 ms of work, and look-ups go first
}

func blockSum(m mark, no uint64, head, content []byte) uint32 {
	sum := crc32.Update(0, castagnoli, m[:])
	sum = crc32.Update(sum, castagnoli, binary.LittleEndian.AppendUint64(nil, no))
	sum = crc32.Update(sum, castagnoli, head)
	return crc32.Update(sum, castagnoli, content)
}

// finish writes the end.
func (w *recordWriter) finish() (totals, error) {
	w.flush()
	end := binary.LittleEndian.AppendUint64(nil, w.totals.Records)
	end = binary.LittleEndian.AppendUint64(end, w.totals.Objects)
	w.writeBlock(blockEnd, w.totals.Sum.Append(end))
	return w.totals, w.err
}

// recordReader reads what a recordWriter wrote. Until all of it was read without an error,
// nothing may be concluded from what was read.
type recordReader struct {
	r      *bufio.Reader
	mark   mark
	block  uint64
	names  []string
	buf    []byte
	object snapshot.Hash
	totals totals
}

// readRecords hands all records over, each with the name of its domain; "" and elsewhere for one that has none.
// An error that is not each's own wraps errObjects.
func readRecords(r io.Reader, key snapshot.Key, m mark, each func(r record, domain string) error) error {
	rr := &recordReader{r: bufio.NewReaderSize(r, 256<<10), mark: m}
	if err := rr.readHead(); err != nil {
		return err
	}
	for {
		kind, content, err := rr.next()
		if err != nil {
			return err
		}
		switch kind {
		case blockNames:
			err = rr.addNames(content)
		case blockRecords:
			err = rr.records(key, content, each)
			runtime.Gosched() // as in writeBlock
		case blockEnd:
			return rr.end(content)
		default:
			err = unusable("a block is of no known kind")
		}
		if err != nil {
			return err
		}
	}
}

func (r *recordReader) readHead() error {
	head := make([]byte, headSize)
	if _, err := io.ReadFull(r.r, head); err != nil {
		return unusable("%v", err)
	}
	if v := binary.LittleEndian.Uint32(head[8:]); string(head[:8]) != objectsMagic || v != objectsVersion {
		return unusable("they are not of version %d", objectsVersion)
	}
	if mark(head[12:]) != r.mark {
		return unusable("they do not belong to this copy")
	}
	return nil
}

// next reads a block. Its content holds until the next one is read.
func (r *recordReader) next() (byte, []byte, error) {
	var head [blockHead]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return 0, nil, unusable("%v", err)
	}
	size := binary.LittleEndian.Uint32(head[1:])
	if size > 1<<26 {
		return 0, nil, unusable("a block cannot have %d octets", size)
	}
	if int(size) > cap(r.buf) {
		r.buf = make([]byte, size)
	}
	content := r.buf[:size]
	if _, err := io.ReadFull(r.r, content); err != nil {
		return 0, nil, unusable("%v", err)
	}
	if blockSum(r.mark, r.block, head[:5], content) != binary.LittleEndian.Uint32(head[5:]) {
		return 0, nil, unusable("the checksum of block %d is wrong", r.block)
	}
	r.block++
	return head[0], content, nil
}

func (r *recordReader) addNames(content []byte) error {
	for len(content) > 0 {
		if len(content) < 2 {
			return unusable("a name is cut short")
		}
		n := int(binary.LittleEndian.Uint16(content))
		if content = content[2:]; len(content) < n {
			return unusable("a name is cut short")
		}
		r.names = append(r.names, string(content[:n]))
		content = content[n:]
	}
	return nil
}

func (r *recordReader) records(key snapshot.Key, content []byte, each func(record, string) error) error {
	if len(content)%recordSize != 0 {
		return unusable("a record is cut short")
	}
	for ; len(content) > 0; content = content[recordSize:] {
		one := record{
			object: snapshot.HashFrom(content), address: snapshot.HashFrom(content[snapshot.HashSize:]),
			domain: binary.LittleEndian.Uint32(content[2*snapshot.HashSize:]),
		}
		r.totals.add(key, &one, content[:2*snapshot.HashSize], r.object)
		r.object = one.object
		name := ""
		if one.domain != elsewhere {
			if uint64(one.domain) >= uint64(len(r.names)) {
				return unusable("a domain has no name")
			}
			name = r.names[one.domain]
		}
		if err := each(one, name); err != nil {
			return err
		}
	}
	return nil
}

func (r *recordReader) end(content []byte) error {
	if len(content) != 16+snapshot.HashSize {
		return unusable("their end has %d octets", len(content))
	}
	want := totals{binary.LittleEndian.Uint64(content), binary.LittleEndian.Uint64(content[8:]), snapshot.HashFrom(content[16:])}
	if !want.equal(&r.totals) {
		return unusable("their totals are wrong")
	}
	if _, err := r.r.ReadByte(); err != io.EOF {
		return unusable("there is more behind their end")
	}
	return nil
}
