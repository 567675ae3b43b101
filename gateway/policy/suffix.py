"""Public suffixes (publicsuffix.org), from the list that the package publicsuffixlist brings; no download."""

from functools import cache
from typing import Any


@cache
def _list(*, icann_only: bool) -> Any:
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415  reading the list takes 70 ms; only checks need it

    return PublicSuffixList(only_icann=icann_only)


def is_public_suffix(host: str, *, icann_only: bool = False) -> bool:
    """Whether anyone can register below this host (`com`, `co.uk`, `github.io`); unknown top-level names count.

    With `icann_only`, suffixes that a single service runs for its customers (`github.io`, `myshopify.com`) don't.
    """
    return bool(_list(icann_only=icann_only).is_public(host))
