package milter

// Holds is how many octets of buffer a connection has for itself.
func (c *Conn) Holds() int { return len(c.in.buf) }

// DrainedAtMail has Drain come in between the two steps in which a transaction begins, and waits for the next packet.
func (c *Conn) DrainedAtMail() error {
	if err := c.wait(); err != nil {
		return err
	}
	c.Drain()
	c.setBusy(true)
	return c.wait()
}
