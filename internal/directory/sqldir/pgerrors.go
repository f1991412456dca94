package sqldir

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// postgresAgain says whether the question may be put once more, on a fresh connection.
func postgresAgain(err error) bool {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return false // that was a fresh one
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return true // the connection broke
	}
	return slices.Contains([]string{
		"57P01", "57P02", "57P03", "57P05", // the server ends, or the session
		"40001", "40P01", // a conflict with what a standby replays, or a deadlock
	}, pg.Code) || strings.HasPrefix(pg.Code, "08")
}

// postgresOdd says whether the error is about what was asked, and no other question need fail:
// data exceptions (an address that the database's encoding does not have) and cardinality violations.
func postgresOdd(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (strings.HasPrefix(pg.Code, "22") || strings.HasPrefix(pg.Code, "21"))
}

func describePostgres(err error) string {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err.Error()
	}
	hint := ""
	switch pg.Code {
	case "28P01", "28000":
		hint = ": look at user and password, and at the server's pg_hba.conf"
	case "42501":
		hint = ": GRANT SELECT on what the query reads"
	case "42P18":
		hint = ": write what type is meant, as in {address}::text"
	case "3D000":
		hint = ": look at the name behind the host in the URL"
	}
	return fmt.Sprintf("%s (SQLSTATE %s)%s", pg.Message, pg.Code, hint)
}
