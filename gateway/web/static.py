"""The sheet, the icon and the scripts: read once, served from memory by their names. No path leads to a file."""

import hashlib
from pathlib import Path

from aiohttp import web

PREFIX = "/static/"
HERE = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def _files() -> dict[str, tuple[bytes, str]]:
    """Return each file's content and its tag, by name."""
    found = {file.name: file.read_bytes() for file in HERE.iterdir()}
    return {name: (content, hashlib.sha256(content).hexdigest()[:16]) for name, content in found.items()}


FILES = _files()
SHEET = f"{PREFIX}style.css?v={FILES['style.css'][1]}"
"""Where pages have their sheet from: by a URL of this very content, so that a browser asks for it once."""
FOREVER = "public, max-age=31536000, immutable"


async def static(request: web.Request) -> web.StreamResponse:
    """Answer `/static/{name}`: for good where the URL names the content, else to be asked for again each time."""
    if (name := request.match_info["name"]) not in FILES:
        raise web.HTTPNotFound
    content, own = FILES[name]
    known = {tag.value for tag in request.if_none_match or ()}
    response = web.Response(status=304) if own in known else web.Response(body=content)
    response.content_type, response.etag = _TYPES[Path(name).suffix], own
    if response.content_type.startswith("text/"):
        response.charset = "utf-8"
    response.headers["Cache-Control"] = FOREVER if request.query.get("v") == own else "no-cache"
    return response
