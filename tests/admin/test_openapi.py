"""The OpenAPI document: valid, and about the operations that there are."""

import json
import re
from pathlib import Path

from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.admin.openapi import document
from gateway.admin.routes import OPERATIONS

DESIGNED = {
    "GET /apps", "GET /apps/{app}", "PUT /apps/{app}", "DELETE /apps/{app}", "POST /apps/check",
    "PUT /apps/{app}/secrets/{name}", "POST /connect-links", "POST /connections", "GET /connections",
    "GET /connections/{id}", "DELETE /connections/{id}", "POST /connections/{id}/test",
    "POST /connections/{id}/refresh",
    "POST /clients", "GET /clients", "DELETE /clients/{name}", "POST /explain", "GET /events", "GET /requests",
}  # fmt: skip


def test_the_document_is_valid_openapi_3_1():
    OpenAPIV31SpecValidator(json.loads(json.dumps(document(OPERATIONS)))).validate()


def test_it_has_every_operation_of_the_design_and_no_other():
    assert {f"{one.method} {one.path}" for one in OPERATIONS} == DESIGNED
    paths = document(OPERATIONS)["paths"]
    described = {
        f"{method.upper()} {path.removeprefix('/api/v1')}" for path, entry in paths.items() for method in entry
    }
    assert described == DESIGNED


def test_every_reference_leads_somewhere_and_every_schema_is_used():
    text = json.dumps(document(OPERATIONS))
    used = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert used == set(document(OPERATIONS)["components"]["schemas"])


def test_operation_ids_are_unique():
    ids = [one["operationId"] for entry in document(OPERATIONS)["paths"].values() for one in entry.values()]
    assert len(ids) == len(set(ids))


def test_no_answer_has_a_place_for_a_secret_but_a_new_clients():
    schemas = document(OPERATIONS)["components"]["schemas"]
    holders = {
        name
        for name, schema in schemas.items()
        if {"token", "credentials", "value"} & set(schema.get("properties", ()))
    }
    assert holders == {"ClientCreated", "SecretValue"}
    assert "SecretValue" not in json.dumps([one.answers for one in OPERATIONS], default=str)


async def test_it_is_served_as_it_is_made(web):
    answer = await web.get("/api/v1/openapi.json")
    assert answer.json == json.loads(json.dumps(document(OPERATIONS)))


def test_the_table_is_the_only_place_that_names_a_route():
    admin = Path(document.__code__.co_filename).parent
    adders = [file.name for file in admin.glob("*.py") if "router.add" in file.read_text()]
    assert adders == ["api.py"]
