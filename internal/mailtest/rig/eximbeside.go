package rig

import (
	"fmt"
	"testing"
)

func (b *Beside) exim(t testing.TB, p Pasted) server {
	t.Helper()
	x := newExim(t, "-q1s")
	x.Store = b.Store
	x.launch(func(own string) string {
		return fmt.Sprintf(eximBeside, x.binary, x.Dir, own, Domain+" : "+OtherDomain, Inside, p.EximMain, p.EximRcpt, p.EximData, port(b.Store.Addr()), port(b.World.Addr()), p.EximRouters, Domain)
	})
	return x
}

// eximBeside is shaped like the configuration that administrators have, Debian's, with its macro for what leaves. As
// there, DSN is not offered: with it, Exim 4.96 makes a = of a blank in a quoted local part.
const eximBeside = `%[6]s
exim_user = root
exim_group = root
exim_path = %[1]s
spool_directory = %[2]s/spool
log_file_path = %[2]s/log/%%slog
pid_file_path = %[2]s/exim.pid
log_selector = +all
keep_environment = LD_LIBRARY_PATH
primary_hostname = exim.test
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[3]s
domainlist local_domains =
domainlist relay_to_domains = %[4]s
hostlist relay_from_hosts = %[5]s
acl_smtp_rcpt = acl_check_rcpt
acl_smtp_data = acl_check_data
tls_advertise_hosts =
host_lookup =
rfc1413_hosts =
message_logs = false
smtp_accept_max = 1000
smtp_accept_queue_per_connection = 0
smtp_enforce_sync = false
message_size_limit = 50M
qualify_domain = %[12]s
ignore_bounce_errors_after = 0s
begin acl
acl_check_rcpt:
  accept  hosts = +relay_from_hosts
  require message = relay not permitted
          domains = +local_domains : +relay_to_domains
%[7]s
  accept
acl_check_data:
%[8]s
  accept
begin routers
%[11]s
hub:
  driver = manualroute
  domains = +relay_to_domains
  route_list = * 127.0.0.1
  self = send
  transport = store
  no_more
others:
  driver = manualroute
  domains = *
  route_list = * 127.0.0.1
  self = send
  transport = world
begin transports
store:
  driver = smtp
  port = %[9]s
  allow_localhost
  hosts_avoid_tls = *
  message_linelength_limit = 1000000
  user = ` + eximUser + `
world:
  driver = smtp
.ifdef REMOTE_SMTP_RETURN_PATH
  return_path = REMOTE_SMTP_RETURN_PATH
.endif
  port = %[10]s
  allow_localhost
  hosts_avoid_tls = *
  message_linelength_limit = 1000000
  user = ` + eximUser + `
begin retry
* * F,1h,1s
`
