package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
)

// answererMain is a policy service that refuses whatever it is asked, without a look at it: what a request and an answer cost by
// themselves. It ends when its standard input does.
func answererMain(args []string) error {
	flags := flag.NewFlagSet("answerer", flag.ContinueOnError)
	if err := flags.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	go func() {
		<-ctx.Done()
		_ = l.Close()
	}()
	return answerAll(l)
}

// answerAll serves until the listener is closed.
func answerAll(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go answerOne(conn)
	}
}

// answerOne answers each empty line, with which a request ends.
func answerOne(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	answer := []byte("action=550 5.1.1 User unknown\n\n")
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		if len(line) > 1 {
			continue
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// startAnswerer starts one, and returns where it is asked.
func (b *bench) startAnswerer() (*process, string, error) {
	addr := ""
	p, err := spawn(b.dir, "answerer", func(line string) { addr = line }, b.self, "answerer")
	if err != nil {
		return nil, "", err
	}
	b.later(p.stop)
	return p, addr, nil
}
