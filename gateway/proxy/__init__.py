"""The data plane: the proxy listener, from a caller's socket to upstream's and back.

Bytes come in at `caller` (one connection from a caller, or the inside of a tunnel), which cuts them into requests.
`entrances` reads where a request wants to go and with which tag. An `exchange` takes it from there: who is calling, may
they, where to, with what added, is it their turn; then `upstream` carries it, on a pooled connection, and the answer
flows back through the exchange to the caller.

    server       listens, keeps count, sweeps deadlines
    caller       the caller's side: parses requests, answers, lets each wait its turn
    entrances    absolute-form, CONNECT, path-style: target and tag of a request (pure)
    exchange     the one pipeline: admit, decide, inject, limit, send, refresh and replay, relay
    outgoing     a request as it goes upstream (pure)
    held         a 401 that waits for the refresh
    traced       the same pipeline, told to whoever follows traces; tracing says who that is
    admission    who is calling, and may they use that connection
    permission   whether what is under way still may be
    limiter      what a policy lets through; a gate each for connection and app, a ledger of what replicas share
    relay        how an answer goes back: framing, scrubbing, Location
    content      a request's content on its way, kept while it may be needed again
    answer_reader
                 what a service sends, cut into answers
    upstream     one connection to a service
    pool         the idle ones, and the way to new ones
    tunnel       what happens behind a CONNECT's 200, and behind a 101
    outbox       what is written in one turn of the loop goes out at its end
    tls          TLS over any transport, either side
    certs        the gateway's own certificate authority
    answers      refusals as bytes
    access_log   what was done, in one line each
    tally        how much of it, by app, connection and client

A request in the hot path does no I/O but on its two sockets; whatever must wait (a connection that isn't loaded, an
expired token, a new upstream connection) leaves the path as a task and comes back to the same steps.
"""
