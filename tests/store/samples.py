"""Rows to start from: literal ones, with what a test is about changed."""

from dataclasses import replace
from typing import Any

from gateway.store import ClientRow, ConnectionRow, LinkRow, RequestRow, Status


def a_connection(connection_id: str = "crm-ann", **changes: Any) -> ConnectionRow:
    row = ConnectionRow(
        id=connection_id,
        app="crm",
        label="Ann",
        unique_id=f"u-{connection_id}",
        status=Status.ACTIVE,
        fields=b"sealed fields",
        credentials=b"sealed credentials",
        token_version=1,
        expires_at=4600.0,
        created_at=1000.0,
        updated_at=1000.0,
        created_by="admin",
    )
    return replace(row, **changes)


def a_client(name: str = "runner", **changes: Any) -> ClientRow:
    row = ClientRow(name=name, token_hash=name.encode().ljust(32, b"."), patterns=("crm-*", "x"), created_at=1000.0)
    return replace(row, **changes)


def a_link(**changes: Any) -> LinkRow:
    row = LinkRow(
        token_hash=b"h" * 32,
        app="crm",
        connection="crm-ann",
        fields=b"sealed",
        created_at=1000.0,
        expires_at=2800.0,
        created_by="admin",
    )
    return replace(row, **changes)


def a_request(at: float = 1000.0, **changes: Any) -> RequestRow:
    row = RequestRow(
        at=at,
        request_id=f"r{at}",
        entrance="absolute",
        app="crm",
        connection="crm-ann",
        client="runner",
        method="GET",
        url="https://api.example.com/v1/users",
        status=200,
        seconds=0.012,
        sent=0,
        received=152,
    )
    return replace(row, **changes)
