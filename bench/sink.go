package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// sink is the downstream of all contenders: it knows recipients whose local part begins with "user", refuses all others,
// swallows messages and counts them. It must cost little, as it runs beside the server that is measured.
type sink struct {
	rcptDelay time.Duration // time that it takes over each RCPT, like a downstream that is far away
	messages  atomic.Int64
	bytes     atomic.Int64
	keep      atomic.Pointer[kept] // what is written down, nil as a rule
}

// kept is one message in the way in which it came.
type kept struct {
	mail, data []byte // the MAIL command, and what came by BDAT
}

// sinkMain is the process: it prints its address and serves until its standard input ends, as it does when the runner dies.
func sinkMain(args []string) error {
	flags := flag.NewFlagSet("sink", flag.ContinueOnError)
	delay := flags.Duration("rcpt-delay", 0, "time to wait before RCPT is answered")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	s := &sink{rcptDelay: *delay}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	go s.serve(l)
	<-ctx.Done()
	return l.Close()
}

// serve answers connections until the listener is closed.
func (s *sink) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go s.session(conn)
	}
}

// session answers one connection. Replies are gathered until no command is left unread.
func (s *sink) session(conn net.Conn) {
	defer conn.Close()
	in, out := bufio.NewReaderSize(conn, 16<<10), bufio.NewWriterSize(conn, 1<<10)
	fmt.Fprint(out, "220 sink.bench.example ESMTP\r\n")
	for {
		if in.Buffered() == 0 {
			if out.Flush() != nil {
				return
			}
		}
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		if !s.command(line, in, out) {
			_ = out.Flush()
			return
		}
	}
}

// command answers one command; false ends the session.
func (s *sink) command(line []byte, in *bufio.Reader, out *bufio.Writer) bool {
	verb := strings.ToUpper(string(line[:min(4, len(line))]))
	reply := "250 2.0.0 Ok\r\n"
	switch verb {
	case "EHLO":
		reply = "250-sink.bench.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-CHUNKING\r\n250 ENHANCEDSTATUSCODES\r\n"
	case "RCPT":
		if s.rcptDelay > 0 {
			time.Sleep(s.rcptDelay)
		}
		if !bytes.Contains(line, []byte(":<user")) {
			reply = "550 5.1.1 User unknown\r\n"
		}
	case "DATA":
		_, _ = out.WriteString("354 End with a dot\r\n")
		n, err := swallow(in, out)
		if err != nil {
			return false
		}
		s.messages.Add(1)
		s.bytes.Add(n)
	case "BDAT": // RFC 3030, as Postfix, Exim and Exchange offer it
		n, last, err := s.chunk(line, in)
		if err != nil {
			return false
		}
		s.bytes.Add(n)
		if last {
			s.messages.Add(1)
		}
	case "STAT": // ours: how much has arrived
		reply = fmt.Sprintf("250 %d %d\r\n", s.messages.Load(), s.bytes.Load())
	case "KEEP": // ours: the next one is written down
		s.keep.Store(&kept{})
	case "SHOW": // ours: what was written down, and no more of it
		k := s.keep.Swap(nil)
		if k == nil {
			k = &kept{}
		}
		reply = fmt.Sprintf("250 %q\r\n", append(k.mail, k.data...))
	case "QUIT":
		_, _ = out.WriteString("221 2.0.0 Bye\r\n")
		return false
	case "MAIL":
		if k := s.keep.Load(); k != nil {
			k.mail = bytes.Clone(line)
		}
	case "HELO", "RSET", "NOOP":
	default:
		reply = "500 5.5.1 Unknown command\r\n"
	}
	_, err := out.WriteString(reply)
	return err == nil
}

// chunk reads the octets of one BDAT.
func (s *sink) chunk(line []byte, in *bufio.Reader) (n int64, last bool, err error) {
	fields := strings.Fields(string(line))
	if len(fields) < 2 {
		return 0, false, fmt.Errorf("BDAT without a size")
	}
	if n, err = strconv.ParseInt(fields[1], 10, 64); err != nil {
		return 0, false, err
	}
	if k := s.keep.Load(); k != nil {
		k.data = make([]byte, n)
		_, err = io.ReadFull(in, k.data)
	} else {
		_, err = io.CopyN(io.Discard, in, n)
	}
	return n, len(fields) > 2, err
}

// swallow reads a message up to its final dot and returns its length in octets.
func swallow(in *bufio.Reader, out *bufio.Writer) (int64, error) {
	if err := out.Flush(); err != nil {
		return 0, err
	}
	var n int64
	for atStart := true; ; {
		line, err := in.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return n, err
		}
		if atStart && string(line) == ".\r\n" {
			return n, nil
		}
		n += int64(len(line))
		atStart = err == nil
	}
}

// sinkCount asks a sink how many messages it has got so far.
func sinkCount(addr string) (int, error) {
	line, err := askSink(addr, "STAT")
	if err != nil {
		return 0, err
	}
	var messages, octets int
	if _, err := fmt.Sscanf(line, "250 %d %d", &messages, &octets); err != nil {
		return 0, fmt.Errorf("the sink said %q", line)
	}
	return messages, nil
}

// sinkShows lets a sink write down what comes while f runs, of which there should be one message.
func sinkShows(addr string, f func() error) (string, error) {
	if _, err := askSink(addr, "KEEP"); err != nil {
		return "", err
	}
	failed := f()
	line, err := askSink(addr, "SHOW")
	if failed != nil || err != nil {
		return "", errors.Join(failed, err)
	}
	return strconv.Unquote(strings.TrimSpace(strings.TrimPrefix(line, "250 ")))
}

// askSink says one of our own words to a sink, and returns its answer.
func askSink(addr, word string) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	if _, err := in.ReadString('\n'); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, word+"\r\n"); err != nil {
		return "", err
	}
	return in.ReadString('\n')
}
