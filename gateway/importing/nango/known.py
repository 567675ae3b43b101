"""What nango does by its own code, for providers of which its list doesn't say it: facts, in the policy's keys."""

from collections.abc import Mapping
from typing import Any

from gateway.importing.draft import Draft
from gateway.importing.nango.fields import Fields

NOT: Mapping[str, str] = {}


def apply(name: str, draft: Draft, fields: Fields) -> None:
    """Lay what is known of a provider over its draft."""
