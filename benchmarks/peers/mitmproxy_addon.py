"""mitmproxy: one header set, one taken away."""

import os
from typing import Any

AUTHORIZATION = f"Bearer {os.environ['BENCH_TOKEN']}"


def request(flow: Any) -> None:
    """Inject."""
    fields = flow.request.headers
    fields["Authorization"] = AUTHORIZATION
    fields.pop("Proxy-Authorization", None)
