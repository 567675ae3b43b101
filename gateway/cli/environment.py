"""The environment of a program that is to go through the gateway: the proxy, and every variable that names a CA file.

The gateway's own variables stay behind: the admin token, the store's password, the place of the master key.

Some programs add a CA file to what they trust, most replace their store with it. So what they get holds the system's
roots and ours.
"""

import ssl
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from gateway.settings import PREFIX

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
"""No ALL_PROXY: it would take along what isn't HTTP, which the gateway doesn't speak."""

NO_PROXY_VARIABLES = ("NO_PROXY", "no_proxy")

BUNDLE_VARIABLES = (
    "SSL_CERT_FILE",  # OpenSSL: Python's ssl, Ruby, Go, Rust with native roots
    "REQUESTS_CA_BUNDLE",  # Python requests
    "CURL_CA_BUNDLE",  # curl
    "GIT_SSL_CAINFO",  # git
    "AWS_CA_BUNDLE",  # AWS command line and SDKs
    "PIP_CERT",  # pip
    "CARGO_HTTP_CAINFO",  # cargo
    "DENO_CERT",  # Deno
    "HEX_CACERTS_PATH",  # Elixir's hex
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",  # gcloud
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",  # gRPC
    "HTTPLIB2_CA_CERTS",  # httplib2, and with it Google's older Python clients
    "NIX_SSL_CERT_FILE",  # OpenSSL and curl as Nix builds them, which prefer it to SSL_CERT_FILE
)
"""Each replaces what the program trusts: the file holds the system's roots and ours."""

EXTRA_VARIABLES = ("NODE_EXTRA_CA_CERTS",)
"""Each adds to what the program trusts: the file holds ours alone."""


def program_environment(
    surroundings: Mapping[str, str],
    *,
    proxy: str,
    no_proxy: str,
    bundle: Path,
    certificate: Path,
    withheld: Collection[str] = (),
) -> dict[str, str]:
    """Return the surroundings with the proxy and the CA set in every variable that programs read.

    Whatever is the gateway's is left out: its own variables by their prefix, and those `withheld`, that hold secrets.
    """
    found = {
        name: value
        for name, value in surroundings.items()
        if name not in withheld and name.upper() != "ALL_PROXY" and not name.upper().startswith(PREFIX)
    }
    found |= dict.fromkeys(PROXY_VARIABLES, proxy)
    found |= dict.fromkeys(NO_PROXY_VARIABLES, no_proxy)
    found |= dict.fromkeys(BUNDLE_VARIABLES, str(bundle))
    found |= dict.fromkeys(EXTRA_VARIABLES, str(certificate))
    found["NODE_USE_ENV_PROXY"] = "1"  # Node 24 and later: fetch follows the proxy variables
    return found


def bundle_pem(certificate: bytes, roots: Iterable[Path]) -> bytes:
    """Return our certificate and the roots of the first file that is there."""
    for path in roots:
        if path.is_file():
            return path.read_bytes().rstrip() + b"\n" + certificate
    return certificate


def root_files(surroundings: Mapping[str, str]) -> list[Path]:
    """Return where the roots may be, best first: what the person set, the system's, those of certifi if it is there."""
    places = [surroundings.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile]
    places += ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"]
    try:
        from certifi import where
    except ImportError:
        pass
    else:
        places.append(where())
    return [Path(place) for place in places if place]
