package sqldir

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// postgresKeys may stand behind the ? of a URL. What is not among them would be sent to
// the server as a setting, so that a misspelt sslmode would mean: no matter.
var postgresKeys = []string{
	"host", "port", "user", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslnegotiation", "sslsni", "channel_binding",
	"require_auth", "target_session_attrs", "connect_timeout", "passfile", "application_name", "search_path", "options",
	"statement_timeout", "timezone",
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
	for key := range u.Query() {
		switch {
		case key == "password" || key == "sslpassword":
			return nil, errors.New("the URL: a password behind the ? is not taken: write it into the password file")
		case !slices.Contains(postgresKeys, key):
			return nil, fmt.Errorf("the URL: %q is not known: behind the ? there may be %s", key, strings.Join(postgresKeys, ", "))
		}
	}
	conf, err := pgconn.ParseConfig(u.String())
	if err != nil {
		return nil, fmt.Errorf("the URL: %s", line(err.Error()))
	}
	if password != "" {
		conf.Password = password
	}
	if cfg.TLSConfig != nil {
		if err := trust(conf, cfg.TLSConfig); err != nil {
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
	// Else the server takes what it gets for the database's own encoding, and finds nobody with an umlaut.
	conf.RuntimeParams["client_encoding"] = "UTF8"
	e.connector = newPGConnector(conf)
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
func (e *engine) judge(conf *pgconn.Config) {
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
