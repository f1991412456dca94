// Package synced is a recipient source that answers from a copy of a whole directory,
// which it pulls through a directory.Puller: everything at first and once a day, what has
// changed in between.
//
// Open only reads what is kept, so that a configuration can be tried beside the one that runs; what is
// written is written after Start, and what cannot be used is left in its place until a pull replaces it.
//
// A pull that fails leaves the copy as it was, and is tried again after a pause that
// doubles. The copy is in memory and, as a snapshot, in a folder, so that a restart
// answers at once, whether the directory can be reached or not. Beside the snapshot lies
// which addresses were whose (NAME.objects), as hashes under the same key, so that a
// pull of changes can take back what a recipient has lost; and where the next one begins
// (NAME.state). The three carry the same mark. Where they do not, because a crash came
// between two of them, the snapshot answers and everything is pulled anew.
//
// A pull in which a domain would lose more than a fifth of its addresses is held back:
// the copy stays, and State says what would be lost, until a later pull loses less or
// somebody confirms it. What a single recipient had never counts. Where the copy that is kept is of
// other settings, or damaged, it answers nothing, and what it says of how many each domain had is
// what the first pull is held against.
//
// # Limits
//
// The copy is as old as the last pull: a new recipient is refused until the next one.
// What is older than Config.MaxStale says nothing any more.
//
// While a pull is taken over, two sets are in memory, and 22 octets more for each
// recipient whom the pull named. Without a folder the objects are in memory too, 36
// octets for each address, and other settings are held against nothing. While a pull of everything runs, the folder needs room for
// the objects twice more. Two domains beyond the first 10,000 are watched for losses as one.
//
// A pull may bring Config.Most recipients and addresses; one of a directory without ids is in memory until it
// is taken over, any other in the folder, whose free space bounds it.
//
// Config.Identity must name all on which the addresses depend: another filter, or another
// alias of a domain, is another directory.
package synced
