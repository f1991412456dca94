//go:build !linux

package listen

import "net"

// QuickAck is l itself where the system has no TCP_QUICKACK.
func QuickAck(l net.Listener) net.Listener { return l }
