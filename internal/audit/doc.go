// Package audit counts, from what the logs of mail servers say, how much backscatter they send: bounces that they wrote
// themselves, and that left for addresses of strangers. Events of internal/maillog in, a report in numbers and words out.
//
// A message is followed by its queue id: who sent it, why it failed, which bounce was written for it and whether that bounce
// left. Lines may come in any order: what cannot be decided yet waits. Which domains are the server's own is
// known at the end only, so bounces are counted in cells (day, domain, cause, who refused), of which the report is made.
//
// # Limits
//
// Memory is bounded, and what is lost by it is told: 200,000 messages at once, whose oldest is forgotten first; 200,000
// domains and 500,000 cells, behind which are others; a million strangers, behind which their number is an estimate (within 2 %).
// A bounce about several recipients has the cause of the first that failed. Exim's queue ids are those of one host: logs of several
// Exims in which the same id stands are mixed up. A log that begins or is cut in the middle loses the
// beginning of messages: their bounces are counted apart.
package audit
