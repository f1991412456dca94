// Package httpdir is a recipient source that asks an HTTP server, such as a hosting panel: GET of
// the operator's URL with address=… added to its query. 200 is exists, 404 is missing,
// everything else is unavailable.
//
// What is asked for is mail.Address.Key: lower case, with quotes only around a local
// part that needs them. The token goes along in Authorization: Bearer; a redirect is not
// followed, for it would carry the token to whoever the answer names. Proxies of the environment are not used.
//
// The body of an answer is not looked at. Time, headers and body are bounded. An answer that may be about one
// address (400, 500, …) does not count against the server, or anybody could switch
// it off by asking for what it stumbles over.
//
// # Limits
//
// A 404 is believed: a server that says it for any path while it is being installed says
// missing of everybody. A 200 is believed as well. So the URL should be one that answers
// nothing but this question. There is one server, and no client certificate but what TLSConfig has.
package httpdir
