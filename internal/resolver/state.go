package resolver

import "time"

// State is what the operator sees of the DNS.
type State struct {
	Servers []ServerState // in the order in which they are asked now
	// Down: no server answers, and questions fail at once.
	Down      bool
	Since     time.Time // it is down, or up; zero: nobody was asked yet
	LastError string    // why it is down
	FileError string    // why the list of servers is not the one in the file now; "": it is
	Cached    int       // answers kept; those that are too old and were not asked for again count too
	Asked     uint64    // questions so far
	Hits      uint64    // of them, answered from memory
	Turned    uint64    // of them, turned away because too many were under way, below one domain or altogether
}

// ServerState is how one server does.
type ServerState struct {
	Address   string
	Since     time.Time // it fails since then; zero: it does not
	LastError string
}

// State says how the DNS does. It asks nobody.
func (r *Resolver) State() State {
	st := State{Cached: r.cache.EstimatedSize(), Asked: r.asked.Load(), Hits: r.hits.Load(), Turned: r.turned.total()}
	for _, s := range r.servers.order() {
		st.Servers = append(st.Servers, r.servers.state(s))
	}
	r.servers.mu.Lock()
	st.FileError = r.servers.fault
	r.servers.mu.Unlock()
	r.gate.mu.Lock()
	defer r.gate.mu.Unlock()
	st.Down, st.Since = r.gate.down, r.gate.since
	if st.Down {
		st.LastError = r.gate.last
	}
	return st
}

func (s *servers) state(one *server) ServerState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ServerState{Address: one.addr.String(), Since: one.since, LastError: one.last}
}
