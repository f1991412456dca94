package sqldir

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	maria "github.com/go-sql-driver/mysql"
)

func openMySQL(cfg *Config) (*engine, error) {
	u := cfg.URL
	conf := maria.NewConfig()
	conf.Logger = &maria.NopLogger{} // it writes to stderr; what it says comes as an error as well
	conf.InterpolateParams, conf.MultiStatements, conf.AllowAllFiles, conf.AllowOldPasswords = false, false, false, false
	conf.User = u.User.Username()
	conf.Passwd, _ = u.User.Password()
	if cfg.Password != "" {
		conf.Passwd = cfg.Password
	}
	conf.DBName = strings.TrimPrefix(u.Path, "/")
	q := u.Query()
	for key := range q {
		if !slices.Contains([]string{"socket", "tls"}, key) {
			return nil, fmt.Errorf("the URL: %q is not known: behind the ? there may be socket=PATH and tls=true, false, preferred or skip-verify", key)
		}
	}
	conf.Net, conf.Addr = "tcp", u.Host
	switch {
	case q.Get("socket") != "":
		if u.Host != "" {
			return nil, errors.New("the URL: it names a host and a socket: leave one of them away (mysql://user@/database?socket=PATH)")
		}
		conf.Net, conf.Addr = "unix", q.Get("socket")
	case u.Hostname() == "":
		return nil, errors.New("the URL: no host is named: write mysql://user@host/database, or mysql://user@/database?socket=PATH")
	case u.Port() == "":
		conf.Addr = net.JoinHostPort(u.Hostname(), "3306")
	}
	if conf.DBName == "" {
		return nil, errors.New("the URL: no database is named: write it behind the host, mysql://user@host/database")
	}
	e := &engine{dialect: mysql, again: mysqlAgain, odd: mysqlOdd, describe: describeMySQL, wires: newWires(), keep: true}
	e.setup = "SET SESSION TRANSACTION READ ONLY"
	if err := e.mysqlTLS(conf, q, u.Hostname(), cfg.TLSConfig); err != nil {
		return nil, err
	}
	conf.DialFunc = e.wires.dialGreeted
	// A hook makes the driver copy its settings for each connection. Without, the first server
	// that has no TLS would switch it off for all that come later (tls=preferred).
	if err := conf.Apply(maria.BeforeConnect(func(context.Context, *maria.Config) error { return nil })); err != nil {
		return nil, err
	}
	connector, err := maria.NewConnector(conf)
	if err != nil {
		return nil, fmt.Errorf("the URL: %w", err)
	}
	e.connector = connector
	return e, nil
}

// mysqlTLS settles how the connection is secured. A password goes over in the clear only where
// the server is proven to be the one that is meant.
func (e *engine) mysqlTLS(conf *maria.Config, q url.Values, host string, trusted *tls.Config) error {
	local := conf.Net == "unix" || isLoopback(host)
	mode := q.Get("tls")
	switch {
	case trusted != nil && (mode == "" || mode == "true"):
		conf.TLS = trusted.Clone()
		if conf.TLS.ServerName == "" {
			conf.TLS.ServerName = host
		}
		mode = "true"
	case trusted != nil:
		return fmt.Errorf("the URL says tls=%s, and a certificate to trust is named: leave one of them away", mode)
	case mode == "true":
		conf.TLS = &tls.Config{ServerName: host}
	case mode == "skip-verify":
		conf.TLS = &tls.Config{InsecureSkipVerify: true}
	case mode == "preferred", mode == "" && !local: // against who only listens
		conf.TLS, conf.AllowFallbackToPlaintext = &tls.Config{InsecureSkipVerify: true}, true
	case mode != "" && mode != "false":
		return fmt.Errorf("the URL: tls=%s is not known: there are true, false, preferred and skip-verify", mode)
	}
	conf.AllowCleartextPasswords = mode == "true"
	if mode != "true" && !local {
		e.warn("the connection to %s is not proven to be with that server: write tls=true into the URL, or name the certificate to trust", host)
	}
	return nil
}

// mysqlAgain says whether the question may be put once more, on a fresh connection.
func mysqlAgain(err error) bool {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" || errors.Is(err, errNoGreeting) {
		return false // that was a fresh one
	}
	var my *maria.MySQLError
	if !errors.As(err, &my) {
		return !errors.Is(err, maria.ErrNoTLS) && !errors.Is(err, maria.ErrCleartextPassword)
	}
	return slices.Contains([]uint16{
		1053, 1077, 1079, 1927, 3169, 4031, // the server ends, or the session
		1243, 1615, // the prepared statement is not what it was
		1205, 1213, // waited too long for a lock, deadlock
	}, my.Number)
}

// mysqlOdd says whether the error is about what was asked, and no other question need fail.
func mysqlOdd(err error) bool {
	var my *maria.MySQLError
	if !errors.As(err, &my) {
		return false
	}
	state := string(my.SQLState[:2])
	return state == "22" || state == "21" || slices.Contains([]uint16{
		1267, 1270, 1271, 3988, // characters that the column's character set does not have
		1139, 1366, 1406, // a regular expression, a value
	}, my.Number)
}

func describeMySQL(err error) string {
	var my *maria.MySQLError
	switch {
	case errors.Is(err, maria.ErrCleartextPassword):
		return "this user's password would go over in the clear: write tls=true into the URL, or name the certificate to trust"
	case errors.Is(err, maria.ErrOldPassword):
		return "this user's password is kept in the form from before MySQL 4.1, which gives it away: set it again"
	case errors.As(err, &my) && my.Number == 1045:
		return my.Message + " (error 1045): look at user and password, and from which host the user may come"
	case errors.As(err, &my):
		return fmt.Sprintf("%s (error %d)", my.Message, my.Number)
	}
	return err.Error()
}
