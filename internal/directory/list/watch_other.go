//go:build !linux

package list

import "errors"

type event struct {
	name string
	lost bool
}

type watcher struct{}

func listen(string) (*watcher, error) {
	return nil, errors.New("this system has no inotify")
}

func (*watcher) events() <-chan event { return nil }
func (*watcher) close()               {}
