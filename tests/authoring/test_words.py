"""What an allowed-URL entry covers is told as it is matched."""

import pytest

from gateway.authoring.words import Coverage, covers


@pytest.mark.parametrize(
    ("entry", "coverage"),
    [
        ("example.com", {"schemes": ("https",), "host": "example.com", "itself": True, "below": True, "port": 443}),
        ("*.example.com", {"schemes": ("https",), "host": "example.com", "itself": False, "below": True, "port": 443}),
        (
            "https://api.example.com/v1/",
            {"schemes": ("https",), "host": "api.example.com", "itself": True, "port": 443, "path": "/v1"},
        ),
        (
            "https://*.Example.com:8443/v1",
            {
                "schemes": ("https",),
                "host": "example.com",
                "below": True,
                "port": 8443,
                "port_written": True,
                "path": "/v1",
            },
        ),
        ("http://192.0.2.1", {"schemes": ("http",), "host": "192.0.2.1", "itself": True, "port": 80}),
        (
            "https://{{ shop }}.myshopify.com/admin/{{ fields.team }}/x",
            {
                "schemes": ("https",),
                "host": "{{ shop }}.myshopify.com",
                "itself": True,
                "port": 443,
                "path": "/admin/{{ fields.team }}/x",
                "fields": ("shop", "team"),
            },
        ),
    ],
)
def test_an_entry_is_told_as_it_is_matched(entry: str, coverage: dict[str, object]) -> None:
    assert covers(entry) == Coverage(entry=entry, **coverage)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entry", "wrong"),
    [
        ("", "is empty"),
        ("com", "is a public suffix"),
        ("*.github.io", "is a public suffix"),
        ("example.com/v1", "write https://example.com/v1"),
        ("https://a.*.test", "only at the start"),
        ("https://{{ site }}.com", "write the name out"),
        ("https://x{{ a }}.com", "write the name out"),
        ("ftp://example.com", "clean URL"),
        ("{{ url }}x", "behind which its path must begin"),
    ],
)
def test_what_is_wrong_with_an_entry_is_said(entry: str, wrong: str) -> None:
    found = covers(entry)
    assert wrong in (found.wrong or "")
    assert found == Coverage(entry=entry, wrong=found.wrong)


def test_an_entry_that_denies_covers_both_schemes_and_every_port() -> None:
    assert covers("example.com/admin", deny=True) == Coverage(
        entry="example.com/admin", schemes=("http", "https"), host="example.com", itself=True, below=True, path="/admin"
    )
    assert covers("com", deny=True).wrong is None
