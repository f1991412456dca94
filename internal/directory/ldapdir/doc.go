// Package ldapdir is a recipient source that asks LDAP servers (RFC 4511): OpenLDAP,
// Active Directory and whoever speaks as they do. It answers live, one question a
// recipient, and it can be pulled, whole or what has changed, for a copy.
//
// An answer "missing" needs a server that was asked properly: whom we trust, who took
// our name and password, who has the base, and who knows somebody at all for whom the
// filter holds. Anything else is unavailable and says why: a wrong base or a filter
// with a slip of the pen must not make everybody a stranger.
//
// The filter is text of the operator, with {address}, {user} and {domain} in
// it. What a sender puts there is escaped (RFC 4515, 3), so it is a value and never
// a part of the filter.
//
// For a pull the filter is turned round: who has an address at all. A filter of which that would
// make another set of recipients (CanPull) is only asked.
//
// Servers are asked in order. One that failed is asked last for a while; a connection
// that went stale is replaced once before the server counts as failed. A wrong password
// is tried rarely, and at one server only, because directories lock accounts.
//
// Changes are told in one of two ways. Active Directory numbers its changes (uSNChanged,
// each domain controller for itself), so the cursor is a number of one controller. Who may not see the
// deleted there has everybody listed by id at each pull, and so has one whose filter says something of
// groups; the same is done once after a folder was changed.
// Others stamp entries (modifyTimestamp) and forget the deleted, so everybody who is there is
// listed at each pull by id, and only what was stamped lately is read again.
//
// # Limits
//
// Referrals are not followed: where a server refers to another one and has no entry itself,
// the answer is unavailable, and a pull fails. A directory in which the filter holds for nobody is
// unavailable too, even if that is the truth. A local part with characters beyond ASCII cannot be found in
// attributes of IA5 strings (OpenLDAP's mail). Simple binds and anonymous ones only, no SASL.
// A domain's U-label form is asked for beside its A-labels; a local part is asked for as it is folded.
// A change that a replica of OpenLDAP gets more than ten minutes late is seen
// at the next full pull only, unless somebody comes or goes by it; so is
// an address that an overlay computes.
package ldapdir
