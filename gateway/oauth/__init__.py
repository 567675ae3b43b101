"""OAuth 2.0 as plain values: builds the requests and reads the answers of a provider's endpoints, and does no I/O.

`message` has what goes out and what comes back; `endpoint` how a policy describes an endpoint; `grants` the requests of
the token endpoint and of revocation; `authorize` the login URL, PKCE and what the callback brings; `answer` reads the
token endpoint's answer; `expiry` says until when a token holds; `assertion` signs statements; `redact` makes a
provider's own words fit to be shown.
Time, randomness and the network are arguments.
"""
