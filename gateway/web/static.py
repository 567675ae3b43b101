"""The sheet, the icon and the script: read once, served from memory by their names. No path leads to a file."""

import hashlib
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

PREFIX = "/static/"
HERE = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def static() -> Handler:
    """Return the handler of `/static/{name}`."""
    files = {file.name: file.read_bytes() for file in HERE.iterdir()}
    tags = {name: hashlib.sha256(content).hexdigest()[:16] for name, content in files.items()}

    async def show(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in files:
            raise web.HTTPNotFound
        known = {tag.value for tag in request.if_none_match or ()}
        response = web.Response(status=304) if tags[name] in known else web.Response(body=files[name])
        response.content_type, response.etag = _TYPES[Path(name).suffix], tags[name]
        if response.content_type.startswith("text/"):
            response.charset = "utf-8"
        return response

    return show
