// Package sqldir is a recipient source that asks a database: PostgreSQL, MySQL or MariaDB,
// or an SQLite file, with the operator's own query.
//
// The query says with {address}, {user} and {domain} where the address and its sides go; $1 and
// ? mean the address too. They are handed over as parameters, apart from the text of
// the query, which is the same for every question. A placeholder in quotes is an error.
//
// What is handed over is mail.Address.Key: lower case, with quotes only around a local
// part that needs them. A column with capitals is compared by what the database has for that:
//
//	PostgreSQL  WHERE lower(email) = {address}, with an index on lower(email); or a column of type citext
//	MySQL       WHERE email = {address}: the usual collations (…_ci) pay no heed to case
//	SQLite      WHERE email = {address} COLLATE NOCASE, with an index of that collation
//
// The answer: no row is missing. A row is exists, unless its first column is NULL, false or
// a number that is 0, or an empty text, 0, n, no, f or false: so SELECT active FROM …, SELECT count(*) FROM … and SELECT EXISTS(…) do what
// they say. Of several rows one yes is enough. Any other text is a yes.
// Whatever goes wrong is unavailable, never missing.
//
// A query that lists (Config.Sync) has no placeholder, and one column: each row is an address, and NULL is passed over.
//
// The database is only read: the query begins with a word that reads, which finds mistakes, and the
// session is read-only, which the server holds to (SQLite: the file is opened for reading). It is
// no substitute for a database user that may do nothing but SELECT.
//
// A connection that broke, or whose server was restarted, is replaced and the question put
// once more; then all that lay idle are replaced too. An SQLite file is opened again when
// another one takes its place. An error that is about one address (one that the database's encoding
// cannot express) does not count against the database, or anybody could switch it off by asking.
//
// # Limits
//
// PostgreSQL prepares no statement that would outlive the question, so poolers (PgBouncer) in any mode
// will do; each question is planned anew, which takes some ten microseconds there. A pooler that refuses
// default_transaction_read_only is taken without it. Several PostgreSQL servers stand
// in one URL, with commas (…@db1,db2/mail?target_session_attrs=read-write), and are tried in order; MySQL has one.
//
// MySQL's usual collations also take é for e, so that a yes for the one is a yes for the other;
// a column in …_bin does not, nor does it take capitals for small letters. MySQL compares a text with
// a column of numbers by the number at its beginning: use text columns.
//
// A question that was given up is cancelled at PostgreSQL; MySQL works on it to its end. SQLite
// can be stopped on its way to the first row only: a listing that computes between two rows is left to itself,
// and none is begun before it ends.
// A server that breaks off its answers where MySQL's driver does not expect it may leave a goroutine behind
// (the greeting is checked, what follows is not). SQLite in WAL mode makes its -shm file beside the database where there is none, so the
// folder must be writable, or another program must have the database open.
package sqldir
