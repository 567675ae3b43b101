"""The web listener: people's pages, the admin API, health and metrics, on aiohttp.

    server      the listener: started, stopped, where it stands
    site        the application: every route, the headers of every answer
    health      /healthz, /readyz, /metrics
    session     who is at the other end: signed cookies and the tokens that forms carry
    forms       reading a form, and checking that it came from a page of ours
    render      pages from templates, error pages included
    signin, overview, connect     the pages

Nothing proxied is ever served here, and nothing here is reachable through the proxy listener.
"""
