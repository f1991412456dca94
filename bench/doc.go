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
// No peer looks at who sent a message, so SPF, DMARC and the judging of bounces are off in every row but layers. That one passes
// messages through gateways of ours that look at ever more, and says of each step what it adds to the one below, round by round; a
// message through each of them must first show that it does what its line says. A DNS of our own, a process that is not
// counted, answers for the senders.
//
// Three rows are of another kind. maps builds and asks Postfix's LMDB and cdb of the same list with postmap, and ours in a process
// of its own. flat has ours alone, with 1,000 to 10 M recipients known. swap changes a list under 100 clients that look up in
// the same process; the peer is the same without a swap, and how long a client was kept from running is told apart from the
// time of its look-up.
//
// Four rows are about Backstop beside an MTA that keeps its ports. beside has a Postfix of its own, which refuses and takes mail by
// its own map, and asks at each of our doors instead, in turns: our CPU, that of all of Postfix, and how many sessions pass
// at full speed; and the same with Sendmail and the milter, where it has been unpacked. Our metrics must show that the door decided, and nobody else. doors leaves the MTA out: the load generator speaks
// the wires itself, over connections that are kept, one question at a time on each. Both have, as a floor, a policy service that
// refuses all without a look. crowd has a thousand such connections at
// each of three doors, and soak keeps them busy with everything that can be asked, while the process is weighed.
//
//	go run ./bench               every row, some twenty-five minutes on two cores
//	go run ./bench -quick        every row, coarse, under seven minutes
//	go run ./bench -only refuse  one row; several with commas
//	go run ./bench -only maps -patience 40m   with cdb of 10 M, which else is given up after 3 minutes
//	go run ./bench -only soak -soak 10m       which else runs for 20 seconds, and judges nothing
//	go run ./bench -json FILE    the same figures for a program
//
// # Limits
//
// Linux only. Load generator and server share the machine, so that rates and latencies are those of a machine working for
// both; CPU for each session is not much touched by that. The row maps wants 2.5 GB of disk for 10 M, in TMPDIR, and says so
// where there is less. Postfix is asked there through a pipe, in which its reading and printing are counted; what they cost without
// a look-up stands beside it. Wall-clock rows need a machine with nothing else to do: the
// report says how busy it was at the start. Without Postfix, or with a `backstop` that does not start, the rows that need
// it say so and stay empty. Nothing here is a pass or a fail: the exit code tells only whether the run could be made.
package main
