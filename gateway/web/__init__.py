"""The web listener: people's pages, the admin API, health and metrics, on aiohttp.

The listener
    server      started, stopped, where it stands
    wire        one connection: aiohttp's, with our bounds and our errors
    strict      ambiguous framing and names that aren't ours, refused before anything else
    site        the application: every route; begin here
    headers     those of every answer
    static      the sheet, the icon and the scripts
    health      /healthz, /readyz, /metrics
    readiness   what /readyz goes by, and how the listener takes its leave
    trust       /ca.pem, the certificate that callers trust

What every page is made of
    session     who is at the other end: signed cookies and the tokens that forms carry
    ended       sessions that were signed out, at whichever server
    signin      the admin token, for a session
    admin       pages for a signed-in administrator alone
    forms       reading a form, and checking that it came from a page of ours
    render      pages from templates, error pages included; `templates/macros.html` has what they are made of
    text, times         every word of the pages (english.toml), and times as people read them

Connecting, for whoever has a link
    connect     the page behind a connect link
    asking      what it says beforehand, and which fields it asks for
    link        what stands behind its URL, and one try to connect with it
    login       from leaving for a provider's login to coming back
    device      a code to type in at a provider's, polled until somebody has
    callback    where providers send people back to
    advice      what to do about a token endpoint's refusal

What an administrator looks at
    dashboard, chart    what needs a person and what happens; charts as numbers
    apps        how each app stands; `setup` sets one up, and has a map of its own
    connections, connection     the list, and one of them
    standing, history   how a connection stands, and what happened to it, in words
    actions, disconnect         what can be done with one; ending it, with its id typed
    clients, new_client, coverage       the clients' pages, making one, and what patterns cover
    panel, recipes      "Connect your runner": what to paste where, so that a program goes through the gateway
    activity, explained         what happens, and one entry of it with the decision explained
    logs, entries       the request log and the audit trail as one list; an entry in words
    tail, stream        who listens to what happens; the live tail over the wire

Nothing proxied is ever served here, and nothing here is reachable through the proxy listener.
"""
