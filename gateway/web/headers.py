"""The headers of every answer of the web listener: out of frames, caches, referrers and other sites' reach."""

from aiohttp import web

# Nothing but our own sheet and icon is loaded, nothing runs, nobody frames us (CSP level 3).
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Server": "gateway",
}
HTTPS_ONLY = "max-age=31536000"


def put_headers(response: web.StreamResponse, *, secure: bool) -> None:
    """Put them on an answer. `secure`: browsers reach this listener by https alone."""
    own = response.headers.get("Content-Security-Policy")  # a page that needs another one says so
    response.headers.update(HEADERS if own is None else HEADERS | {"Content-Security-Policy": own})
    response.headers.setdefault("Cache-Control", "no-store")
    if secure:
        response.headers["Strict-Transport-Security"] = HTTPS_ONLY
