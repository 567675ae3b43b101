"""The web listener: people's pages, the admin API, health and metrics, on aiohttp.

    server      the listener: started, stopped, where it stands
    wire        one connection: aiohttp's, with our bounds and our errors
    strict      ambiguous framing and names that aren't ours, refused before anything else
    site        the application: every route, the headers of every answer
    headers, static     those headers; the sheet, the icon and the script
    health      /healthz, /readyz, /metrics
    trust       /ca.pem, the certificate that callers trust
    session     who is at the other end: signed cookies and the tokens that forms carry
    ended       sessions that were signed out, at whichever server
    forms       reading a form, and checking that it came from a page of ours
    text, times     every word of the pages (english.toml), and times as people read them
    render      pages from templates, error pages included; `templates/macros.html` has what they are made of
    admin       pages for a signed-in administrator alone
    dashboard, chart    what needs a person and what happens; charts as numbers
    signin, overview, connect     the other pages
    clients, new_client, coverage     the clients' pages, making one, and what patterns cover
    panel, recipes     "Connect your runner": what to paste where, so that a program goes through the gateway
    activity, explained           what happens, and one entry of it with the decision explained
    logs, entries                 the request log and the audit trail as one list; an entry in words
    tail, stream                  who listens to what happens; the live tail over the wire

Nothing proxied is ever served here, and nothing here is reachable through the proxy listener.
"""
