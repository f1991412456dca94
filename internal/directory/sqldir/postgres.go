package sqldir

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgresKeys may stand behind the ? of a URL. What is not among them would be sent to
// the server as a setting, so that a misspelt sslmode would mean: no matter.
var postgresKeys = []string{
	"host", "port", "user", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslnegotiation", "sslsni", "channel_binding",
	"require_auth", "target_session_attrs", "connect_timeout", "passfile", "application_name", "search_path", "options",
	"client_encoding", "statement_timeout", "timezone", "default_query_exec_mode", "statement_cache_capacity", "description_cache_capacity",
}

// readOnly makes every transaction of a session read-only, without a command that would
// cost a round trip. See pooled.
const readOnly = "default_transaction_read_only"

// maxMessage bounds one message of the server: a row of a listing is one address.
const maxMessage = 4 << 20

func openPostgres(cfg *Config) (*engine, error) {
	u := *cfg.URL
	password, _ := u.User.Password()
	if cfg.Password != "" {
		password = cfg.Password
	}
	if u.User != nil { // so that no error of the parser's can have it
		u.User = url.User(u.User.Username())
	}
	if q := u.Query(); q.Has("password") || q.Has("sslpassword") {
		return nil, errors.New("the URL: a password behind the ? is not taken: write it into the password file")
	}
	conf, err := pgx.ParseConfigWithOptions(u.String(), pgx.ParseConfigOptions{
		ParseConfigOptions: pgconn.ParseConfigOptions{ConnStringAllowedKeys: postgresKeys},
	})
	if err != nil {
		return nil, fmt.Errorf("the URL: %w", err)
	}
	if conf.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
		return nil, errors.New("the URL: default_query_exec_mode=simple_protocol would put the address into the query: write exec, which also needs no prepared statements")
	}
	if password != "" {
		conf.Password = password
	}
	if cfg.TLSConfig != nil {
		if err := trust(&conf.Config, cfg.TLSConfig); err != nil {
			return nil, err
		}
	}
	e := &engine{dialect: postgres, again: postgresAgain, odd: postgresOdd, describe: describePostgres, wires: newWires()}
	e.judge(conf)
	conf.DialFunc = e.wires.dial
	conf.MaxProtocolMessageBodyLen = maxMessage
	if _, set := conf.RuntimeParams["application_name"]; !set {
		conf.RuntimeParams["application_name"] = "backstop"
	}
	conf.RuntimeParams[readOnly] = "on"
	plain := conf.Copy()
	delete(plain.RuntimeParams, readOnly)
	never := stdlib.OptionShouldPing(func(context.Context, stdlib.ShouldPingParams) bool { return false }) // a dead one is found by asking
	e.connector = &pooled{usual: stdlib.GetConnector(*conf, never), plain: stdlib.GetConnector(*plain, never)}
	return e, nil
}

// trust makes each way to a server go through TLS with these roots, and drops those without.
func trust(conf *pgconn.Config, t *tls.Config) error {
	ways := append([]*pgconn.FallbackConfig{{Host: conf.Host, Port: conf.Port, TLSConfig: conf.TLSConfig}}, conf.Fallbacks...)
	var kept []*pgconn.FallbackConfig
	for _, w := range ways {
		switch {
		case strings.HasPrefix(w.Host, "/"): // a socket of this machine
		case w.TLSConfig == nil:
			continue
		default:
			w.TLSConfig = t.Clone()
			if w.TLSConfig.ServerName == "" {
				w.TLSConfig.ServerName = w.Host
			}
		}
		kept = append(kept, w)
	}
	if len(kept) == 0 {
		return errors.New("the URL says sslmode=disable, and a certificate to trust is named: leave one of them away")
	}
	conf.Host, conf.Port, conf.TLSConfig, conf.Fallbacks = kept[0].Host, kept[0].Port, kept[0].TLSConfig, kept[1:]
	return nil
}

// judge finds ways on which somebody could listen, and keeps the password off them.
func (e *engine) judge(conf *pgx.ConnConfig) {
	ways := append([]*pgconn.FallbackConfig{{Host: conf.Host, TLSConfig: conf.TLSConfig}}, conf.Fallbacks...)
	for _, w := range ways {
		if strings.HasPrefix(w.Host, "/") || isLoopback(w.Host) {
			continue
		}
		if w.TLSConfig == nil && conf.RequireAuth == "" {
			conf.RequireAuth = "!password"
		}
		if w.TLSConfig == nil || w.TLSConfig.InsecureSkipVerify && w.TLSConfig.VerifyPeerCertificate == nil {
			e.warn("the connection to %s is not proven to be with that server: write sslmode=verify-full into the URL, or name the certificate to trust", w.Host)
		}
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// pooled connects to a server, or to a pooler before it (PgBouncer) that refuses settings it
// does not know: then without the one that makes the session read-only. It cannot be set by a
// command instead: a pooler hands the session on to others, with what was set.
type pooled struct {
	usual, plain driver.Connector
	refused      atomic.Bool
}

func (p *pooled) Driver() driver.Driver { return p.usual.Driver() }

func (p *pooled) Connect(ctx context.Context) (driver.Conn, error) {
	if p.refused.Load() {
		return p.plain.Connect(ctx)
	}
	c, err := p.usual.Connect(ctx)
	var pg *pgconn.PgError
	if err != nil && errors.As(err, &pg) && strings.Contains(pg.Message, readOnly) {
		if c, err = p.plain.Connect(ctx); err == nil {
			p.refused.Store(true)
		}
	}
	return c, err
}

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
		"26000", "42P05", "0A000", // the prepared statement is not what it was: a pooler's doing, or a changed table
		"40001", "40P01", // a conflict with a replay, or a deadlock
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
	case "3D000":
		hint = ": look at the name behind the host in the URL"
	}
	return fmt.Sprintf("%s (SQLSTATE %s)%s", pg.Message, pg.Code, hint)
}
