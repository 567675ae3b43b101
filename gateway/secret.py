"""A value that must not be seen: it never shows in a repr, a log line, a traceback or a pickle."""

import hmac
from typing import NoReturn, final

MASK = "***"


@final
class Secret:
    """A secret string. Compare it freely; read it with `.reveal()`, the one call to search for."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself. Whoever calls this answers for where it goes."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not serialised; seal it with the keyring")
