"""An API's description as it was given: JSON or YAML, of bounded size, told apart from what people hand in instead.

YAML is read with every scalar as a text. That is all that is needed here, and it leaves out what makes YAML dangerous
or slow: tags, merge keys (which grow without bound), sexagesimal numbers. An alias is what it stands for and no copy;
so nothing may walk through a whole document: the walk could be endless. Nor may anything copy a part, or look at each
of one within each of another, without a bound: the same megabyte may stand in a hundred thousand places.
"""

import json
from typing import Any

import yaml

from gateway.authoring.events import TooDeep, composed, events

MOST_JSON = 8 << 20  # characters; GitHub's description, among the largest there are, is close to this
MOST_YAML = 2 << 20  # characters, which take a second or two
_HOPS = 8  # references that lead to a reference
_LONGEST = 4_000  # characters of one text: longer than any URL or name, and than what is shown of a description
_LONGEST_REFERENCE = 400  # characters

Table = dict[str, Any]


class DocumentInvalid(ValueError):
    """The text is no description of an API; the message says what it is and what would be right."""


def parse(text: str) -> Table:
    """Return the document's table. Numbers are texts. Raises `DocumentInvalid`."""
    text = text.removeprefix("\ufeff").strip()
    _look(text)
    data = _json(text) if text.startswith(("{", "[")) else _yaml(text)
    if not isinstance(data, dict):
        raise DocumentInvalid(f"is a {_kind(data)} and no description of an API; give the whole OpenAPI document")
    _recognise(data)
    return data


def table(value: Any) -> Table:
    """Return the value if it is a table, else an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    """Return the value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def text(value: Any) -> str:
    """Return a text's beginning without blanks around it, and with nothing that UTF-8 can't say; no text is empty."""
    return value[:_LONGEST].strip().encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def followed(value: Any, root: Table) -> Table:
    """Return a table, or what its `$ref` leads to in the same document; {} where that is nowhere."""
    for _ in range(_HOPS):
        reference = table(value).get("$ref")
        if not isinstance(reference, str):
            return table(value)
        value = root if reference.startswith("#/") and len(reference) <= _LONGEST_REFERENCE else None
        for step in reference[:_LONGEST_REFERENCE].removeprefix("#/").split("/"):
            value = table(value).get(step.replace("~1", "/").replace("~0", "~"))
    return {}


def _look(text: str) -> None:
    """Say what is no document at first sight."""
    if not text:
        raise DocumentInvalid("is empty; give an OpenAPI document, as JSON or YAML")
    most = MOST_JSON if text.startswith("{") else MOST_YAML
    if len(text) > most:
        other = "" if most == MOST_JSON else ", or give it as JSON"
        raise DocumentInvalid(f"is over {most >> 20} MiB; take out the parts of the API that you don't need{other}")
    head = text[:200].lower()
    if head.startswith(("<!doctype html", "<html")):
        raise DocumentInvalid(
            "is an HTML page about the API; what is needed is the document behind it, often called openapi.json, "
            "openapi.yaml or swagger.json"
        )
    if head.startswith("<"):
        raise DocumentInvalid("is XML (WSDL or WADL, perhaps); give an OpenAPI document, as JSON or YAML")
    if head.startswith("#%raml"):
        raise DocumentInvalid("is RAML; convert it to OpenAPI first")
    if head.startswith(("http://", "https://")) and "\n" not in text:
        raise DocumentInvalid("is a URL; open it, and give the document that is there")


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise DocumentInvalid(f"is no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except (RecursionError, ValueError):
        raise DocumentInvalid("nests too deep to be a description of an API") from None


def _yaml(text: str) -> Any:
    try:
        return composed(events(text), lambda event: event.value)
    except TooDeep:
        raise DocumentInvalid("nests too deep to be a description of an API") from None
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DocumentInvalid(f"is neither JSON nor YAML: {error.problem}{where}") from None
    except (yaml.YAMLError, UnicodeEncodeError):
        raise DocumentInvalid("is neither JSON nor YAML; give an OpenAPI document in one of them") from None


def _recognise(data: Table) -> None:
    """Say what a table is that is no OpenAPI of a version that we know."""
    version = text(data.get("openapi")) or text(data.get("swagger"))
    if version.startswith(("3.0", "3.1", "2.0")) or version == "2":
        return
    if version or "swaggerVersion" in data:
        found = version or text(data.get("swaggerVersion"))
        raise DocumentInvalid(f"is version {found[:20]!r} of the format; known are OpenAPI 3.0, 3.1 and Swagger 2.0")
    if "asyncapi" in data:
        raise DocumentInvalid("is AsyncAPI, which describes messages; give the OpenAPI document of its HTTP API")
    info = table(data.get("info"))
    if "_postman_id" in info or "getpostman.com" in text(info.get("schema")):
        raise DocumentInvalid("is a Postman collection; export the API's definition as OpenAPI instead")
    if "__schema" in data or "__schema" in table(data.get("data")):
        raise DocumentInvalid("is a GraphQL schema; start from scratch, with its endpoint as the allowed URL")
    if "resources" in data and "discoveryVersion" in data:
        raise DocumentInvalid("is a Google discovery document; start from scratch, or convert it to OpenAPI first")
    names = ", ".join(sorted(map(str, data))[:4])[:80]
    raise DocumentInvalid(f'has neither "openapi" nor "swagger" at its top (but {names}); give the whole document')


def _kind(data: Any) -> str:
    return "list" if isinstance(data, list) else "text"
