// Command bench measures what Backstop costs, beside the servers that would do its work otherwise.
//
// It starts everything itself, on 127.0.0.1 and in a temporary folder: a private Postfix, Exim where it has been
// unpacked, smtp-sink as the floor, a cheap downstream of its own, and `backstop serve`. It then lets the contenders
// take turns under the same load (A B A B, the order turned round every other time), so that whatever else the machine
// does falls on all of them, and prints one table: the peer's figure, ours, the ratio pair by pair, the target and
// whether it was reached. Figures belong to one run and one machine; the ratio is what can be compared.
//
// What is counted is the CPU time (user and system) of all processes of the server under test, read from a control
// group of its own where one can be made and from /proc otherwise. The load generator and the downstream are processes of
// their own and are not counted. A round in which any reply was not the expected one counts for nothing: the row then
// says what was answered.
//
//	go run ./bench               every row, some six minutes on two cores
//	go run ./bench -quick        every row, coarse, under 90 seconds
//	go run ./bench -only refuse  one row
//	go run ./bench -json FILE    the same figures for a program
//
// # Limits
//
// Linux only. Load generator and server share the machine, so that rates and latencies are those of a machine working for
// both; CPU for each session is not much touched by that. Wall-clock rows need a machine with nothing else to do: the
// report says how busy it was at the start. Without Postfix, or with a `backstop` that does not start, the rows that need
// it say so and stay empty. Nothing here is a pass or a fail: the exit code tells only whether the run could be made.
package main
