package ldapdir

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// isResult says whether the error is a server's answer, not a failure to get one.
func isResult(err error) bool {
	var e *ldap.Error
	return errors.As(err, &e) && e.ResultCode < ldap.ErrorNetwork
}

// notResult passes on what is no server's answer.
func notResult(err error) error {
	if isResult(err) {
		return nil
	}
	return err
}

// aboutTheQuestion says whether a server that is well refused to answer this one question.
func aboutTheQuestion(err error) bool {
	var several severalErrors
	if errors.As(err, &several) {
		for _, e := range several {
			if !aboutTheQuestion(e) {
				return false
			}
		}
		return len(several) > 0
	}
	return ldap.IsErrorAnyOf(err, ldap.LDAPResultProtocolError, ldap.LDAPResultTimeLimitExceeded, ldap.LDAPResultSizeLimitExceeded,
		ldap.LDAPResultAdminLimitExceeded, ldap.LDAPResultUndefinedAttributeType, ldap.LDAPResultInappropriateMatching,
		ldap.LDAPResultInvalidAttributeSyntax, ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultOther)
}

// explain says what an error means to an operator.
func explain(err error) string {
	var (
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		record  tls.RecordHeaderError
		shake   *handshakeError
		result  *ldap.Error
	)
	switch {
	case errors.As(err, &unknown):
		return "its certificate is not trusted (" + err.Error() + "): name the file of the CA that signed it (ca_file)"
	case errors.As(err, &name):
		return "its certificate is for another name (" + err.Error() + "): write the server in the URL as the certificate does"
	case errors.As(err, &invalid):
		return "its certificate is not valid (" + err.Error() + ")"
	case errors.As(err, &record), errors.As(err, &shake) && errors.Is(err, io.EOF):
		return "it does not speak TLS on this port (" + err.Error() + "): ldaps:// is port 636, and port 389 wants ldap:// with starttls"
	case errors.Is(err, errTooMuch), errors.Is(err, errLate):
		return err.Error()
	case isResult(err) && errors.As(err, &result):
		return explainResult(err, result)
	case errors.Is(err, io.EOF), strings.Contains(err.Error(), "EOF"), strings.Contains(err.Error(), "response channel closed"):
		return "it closed the connection (" + short(err) + ")"
	}
	return short(err)
}

func explainResult(err error, e *ldap.Error) string {
	hint := ""
	switch e.ResultCode {
	case ldap.LDAPResultNoSuchObject:
		hint = "the base is not there, or the bind DN may not see it"
	case ldap.LDAPResultOperationsError, ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultInappropriateAuthentication:
		hint = "name a bind DN that may read there"
	case ldap.LDAPResultStrongAuthRequired, ldap.LDAPResultConfidentialityRequired:
		hint = "it wants TLS: use ldaps:// or starttls"
	case ldap.LDAPResultReferral:
		hint = "the base is on another server: name that one"
	case ldap.LDAPResultSizeLimitExceeded, ldap.LDAPResultAdminLimitExceeded:
		hint = "it gives no more entries than that to the bind DN: raise its limit (OpenLDAP: limits dn.exact=... size=unlimited), or take a smaller page size"
	case ldap.LDAPResultTimeLimitExceeded:
		hint = "it looked for too long: index the attributes in the filter"
	}
	s := short(err)
	if hint != "" {
		s += ": " + hint
	}
	return s
}

// short is an error of the library without its ornaments, in one line.
func short(err error) string {
	s := err.Error()
	var e *ldap.Error
	if errors.As(err, &e) {
		inner := strings.TrimPrefix(e.Err.Error(), "ldap: ")
		if e.ResultCode < ldap.ErrorNetwork {
			full := e.Error()
			said := fmt.Sprintf("%s (%d)", ldap.LDAPResultCodeMap[e.ResultCode], e.ResultCode)
			if inner != "" {
				said += ", " + inner
			}
			s = strings.Replace(s, full, said, 1)
		} else {
			s = strings.Replace(s, e.Error(), inner, 1)
		}
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(s, "\x00", "")), " ")
}
