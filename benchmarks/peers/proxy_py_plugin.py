"""proxy.py: one header set, one taken away."""

import os
from typing import Any

from proxy.http.proxy import HttpProxyBasePlugin

AUTHORIZATION = f"Bearer {os.environ['BENCH_TOKEN']}".encode()


class Inject(HttpProxyBasePlugin):  # type: ignore[misc]
    """Injects."""

    def handle_client_request(self, request: Any) -> Any:
        request.del_headers([b"authorization", b"proxy-authorization"])
        request.add_header(b"Authorization", AUTHORIZATION)
        return request
