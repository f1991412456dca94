// Package daemon builds everything from one configuration, in the order in which
// mail flows, and keeps it running: New, Start, Reload, Stop.
//
// A reload builds the new parts beside the old ones and swaps them when all are
// there; whatever fails before leaves the old ones as they were, and writes nothing down: first keys, and since when
// mail is tagged, come last. Lists, call-ahead sources and
// downstreams that are the same in both configurations live on, with what they have learned.
//
// # Limits
//
// The state folder, the size of the cache, max_connections and the folder of the
// control socket are taken at start; a reload that changes them says so in the
// log and leaves them. A session goes on with the configuration it began with.
// One daemon uses a state folder; on file systems without locks only the control socket keeps a second one out. A
// changed per_client counts anew: who was connected before is not counted.
package daemon
