//go:build !linux

package watch

import "errors"

type event struct {
	name string
	lost bool
}

type listener struct{}

func listen(string) (*listener, error) {
	return nil, errors.New("this system has no inotify")
}

func (*listener) events() <-chan event { return nil }
func (*listener) close()               {}
