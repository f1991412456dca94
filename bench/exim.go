package main

import (
	"context"
	"errors"
)

func (b *bench) startExim(ctx context.Context) contender {
	return contender{name: "Exim", missing: errors.New("not unpacked")}
}
