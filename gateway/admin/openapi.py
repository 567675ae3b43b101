"""The OpenAPI 3.1 document of the admin API, made from the table of routes and the models."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from gateway import __version__
from gateway.admin.models import ProblemDetails
from gateway.admin.operation import PARAMETERS, Operation
from gateway.errors import PROBLEMS

PREFIX = "/api/v1"
_REF = "#/components/schemas/{model}"
_STATUS_WORDS = {
    200: "Done.",
    201: "Made.",
    204: "Done; nothing to say.",
    400: "Not a request that can be read.",
    401: "The admin token is missing or wrong.",
    404: "There is no such thing.",
    408: "The content did not arrive in time.",
    409: "What is there stands against it: it exists already, or is still needed.",
    413: "Too large.",
    415: "Another content type is needed.",
    422: "Some values are not right; each is listed.",
    429: "Too many wrong admin tokens came from this address.",
    502: "The service or its token endpoint failed.",
}

Schemas = Mapping[Any, Mapping[str, Any]]
"""References by (model, mode)."""


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the whole document."""
    table = tuple(operations)
    schemas, definitions = models_json_schema(_models(table), ref_template=_REF)
    components = dict(definitions.get("$defs", {}))
    paths: dict[str, dict[str, Any]] = {}
    for operation in table:
        entry = _operation(operation, schemas, components)
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = entry
    for operation in table:  # a query's model is spelled out as parameters; nothing refers to it
        if operation.query is not None:
            components.pop(_name(schemas, operation.query, "validation"), None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Connection Gateway admin API",
            "version": __version__,
            "description": "Errors are RFC 9457 problems. `code` is one of: " + ", ".join(sorted(PROBLEMS)) + ".",
        },
        "security": [{"admin": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"admin": {"type": "http", "scheme": "bearer", "description": "The admin token."}},
        },
    }


def _models(table: tuple[Operation, ...]) -> list[tuple[type[BaseModel], JsonSchemaMode]]:
    models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(ProblemDetails, "serialization"): None}
    for operation in table:
        for sent in (operation.body, operation.query):
            if sent is not None:
                models[sent, "validation"] = None
        for answered in operation.answers.values():
            if answered is not None:
                models[answered, "serialization"] = None
    return list(models)


def _operation(operation: Operation, schemas: Schemas, components: Mapping[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "operationId": f"{operation.method.lower()}{re.sub(r'[^a-z]+', '_', operation.path).rstrip('_')}",
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": _responses(operation, schemas),
    }
    parameters = [*_path_parameters(operation), *_query_parameters(operation, schemas, components)]
    if parameters:
        entry["parameters"] = parameters
    if operation.body is not None:
        content: dict[str, Any] = {"application/json": {"schema": schemas[operation.body, "validation"]}}
        if operation.takes_policy:
            text = {"schema": {"type": "string", "description": "The policy as TOML."}}
            content |= {"application/toml": text, "text/plain": text}
        entry["requestBody"] = {"required": True, "content": content}
    return entry


def _responses(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, model in operation.answers.items():
        responses[str(status)] = {"description": _STATUS_WORDS[status]}
        if model is not None:
            schema = schemas[model, "serialization"]
            responses[str(status)]["content"] = {"application/json": {"schema": schema}}
    problem = {"application/problem+json": {"schema": schemas[ProblemDetails, "serialization"]}}
    refusals = {401, 429, *operation.refuses}
    refusals |= {404} if "{" in operation.path else set()
    refusals |= {422} if operation.query or operation.body else set()
    refusals |= {400, 408, 413, 415} if operation.body else set()
    for status in sorted(refusals):
        responses[str(status)] = {"description": _STATUS_WORDS[status], "content": problem}
    responses["default"] = {"description": "Any other refusal.", "content": problem}
    return responses


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": TypeAdapter(PARAMETERS[name]).json_schema()}
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]


def _query_parameters(operation: Operation, schemas: Schemas, components: Mapping[str, Any]) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    properties = components[_name(schemas, operation.query, "validation")]["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": _given(schema)}
        for name, schema in properties.items()
    ]


def _given(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave null out: a parameter is there or it isn't."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    return choices[0] if len(choices) == 1 else schema


def _name(schemas: Schemas, model: type[BaseModel], mode: JsonSchemaMode) -> str:
    reference: str = schemas[model, mode]["$ref"]
    return reference.rsplit("/", 1)[1]
