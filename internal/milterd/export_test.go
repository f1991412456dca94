package milterd

// MaxRcpts is how many recipients a transaction may have.
const MaxRcpts = maxRcpts
