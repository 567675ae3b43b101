"""What a connection is called: as the policy calls its account, until a person chooses another label.

The chosen one stays when the account is connected again. What the account is called is kept beside it meanwhile, and
is the label again when the chosen one is taken back, or when the id is given to another account.
"""

from typing import TypedDict

from gateway.errors import ClientError, Refusal
from gateway.store.rows import ConnectionRow

LONGEST = 200
"""Characters of a label: what a line of a list holds, and some."""


class Names(TypedDict):
    """The two columns (`ConnectionRow`)."""

    label: str
    account_label: str | None


def names_of(row: ConnectionRow) -> Names:
    """Return what a connection is called."""
    return Names(label=row.label, account_label=row.account_label)


def renamed(row: ConnectionRow, label: str) -> Names:
    """Return what it is called with this label; an empty one takes the chosen one back. Raises `ClientError`."""
    label = " ".join(label.split())
    if len(label) > LONGEST or not label.isprintable():
        message = f"is one line of at most {LONGEST} printable characters"
        errors = ({"path": "label", "message": message},)
        raise ClientError(Refusal(code="invalid", detail=f"A label {message}.", errors=errors))
    own = row.label if row.account_label is None else row.account_label
    return Names(label=own, account_label=None) if label in ("", own) else Names(label=label, account_label=own)


def called(row: ConnectionRow, label: str, *, same_account: bool) -> Names:
    """Return what it is called once it is connected again, where the policy calls the account `label`."""
    if same_account and row.account_label is not None and row.label != label:
        return Names(label=row.label, account_label=label)
    return Names(label=label, account_label=None)
