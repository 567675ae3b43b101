"""The text that a new policy starts from."""

from gateway.policy.model import Grant


def scratch(app: str, name: str, grant: Grant, base_url: str) -> str:
    """Return a commented policy for an app, whose only faults are what nobody can know but the one who writes it."""
    raise NotImplementedError
