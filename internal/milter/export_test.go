package milter

// Holds is how many octets of buffer a connection has for itself.
func (c *Conn) Holds() int { return len(c.in.buf) }
