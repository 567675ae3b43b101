"""A draft: as much of a policy as is well formed, for checks that go on when other parts are broken."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from gateway.policy.model import (
    Allow,
    Auth,
    ConnectionRules,
    Example,
    Field,
    Inject,
    Limits,
    Lookup,
    Retry,
    Sign,
    TestCall,
)

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The sections of a policy file that can be read; None: missing, or it can't.

    Fields and examples keep their numbers.
    """

    base_url: str | None
    allow: Allow | None
    fields: tuple[tuple[int, Field], ...]
    auth: Auth | None
    lookup: Lookup | None
    has_lookup: bool
    test: TestCall | None
    has_test: bool
    connection: ConnectionRules | None
    inject: Inject | None
    sign: Sign | None
    has_sign: bool
    limits: Limits | None
    retry: Retry | None
    examples: tuple[tuple[int, Example], ...]
    field_names: frozenset[str]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Draft":
        """Read each section by itself."""
        fields = data.get("fields")
        base_url = data.get("base_url")
        names = [item.get("name") for item in fields if isinstance(item, dict)] if isinstance(fields, list) else []
        return cls(
            base_url=base_url if isinstance(base_url, str) else None,
            allow=_section(Allow, data.get("allow")),
            fields=_numbered(Field, fields),
            auth=_section(Auth, data.get("auth")),
            lookup=_section(Lookup, data.get("lookup")),
            has_lookup="lookup" in data,
            test=_section(TestCall, data.get("test")),
            has_test="test" in data,
            connection=_section(ConnectionRules, data.get("connection", {})),
            inject=_section(Inject, data.get("inject", {})),
            sign=_section(Sign, data.get("sign")),
            has_sign="sign" in data,
            limits=_section(Limits, data.get("limits")),
            retry=_section(Retry, data.get("retry")),
            examples=_numbered(Example, data.get("examples")),
            field_names=frozenset(name for name in names if isinstance(name, str)),
        )

    @property
    def by_name(self) -> dict[str, Field]:
        """The fields by their names."""
        return {field.name: field for _, field in self.fields}


def _section(model: type[Model], data: Any) -> Model | None:
    if data is None:
        return None
    try:
        return model.model_validate(data)
    except ValidationError:
        return None


def _numbered(model: type[Model], items: Any) -> tuple[tuple[int, Model], ...]:
    if not isinstance(items, list):
        return ()
    found = [(number, _section(model, item)) for number, item in enumerate(items)]
    return tuple((number, item) for number, item in found if item is not None)
