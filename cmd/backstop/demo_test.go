package main

import (
	"bytes"
	"testing"
	"time"

	"backstop/internal/demo"
)

func TestFloodInJSON(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out, json: true}
	r := demo.Result{Sent: 3, Forged: 2, Victims: 2, Refused: 2, Accepted: 1, Delivered: 1, WouldHaveBounced: 2, Took: 1500 * time.Millisecond, CPU: time.Second}
	if err := a.printFlood(r); err != nil {
		t.Fatal(err)
	}
	want := `{"sent":3,"forged":2,"forged_domains":2,"refused_at_rcpt":2,"deferred":0,"accepted":1,"delivered":1,"would_have_bounced":2,"bounced":0,"seconds":1.5,"cpu_seconds":1}` + "\n"
	if out.String() != want {
		t.Errorf("got  %swant %s", out.String(), want)
	}
}

func TestFloodThatShowsATrouble(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out}
	if err := a.printFlood(demo.Result{Sent: 3, Forged: 2, Deferred: 3, Took: time.Second}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(out.Bytes(), []byte("\ndeferred             3  answered 4xx or cut off: this should not be\n")) {
		t.Error(out.String())
	}
}
