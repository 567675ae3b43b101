"""What the terminal says once the gateway is up: where it is, and what to do next."""

from types import SimpleNamespace

from gateway.cli.serve import greeting
from gateway.settings import Settings


def test_without_an_app_the_first_line_leads_to_the_pages(tmp_path):
    settings = Settings(data_dir=tmp_path, policies_dir=tmp_path / "policies")
    gateway = SimpleNamespace(settings=settings, catalog=SimpleNamespace(policies={}))
    proxy = SimpleNamespace(reachable="127.0.0.1:8080")
    lines = greeting(SimpleNamespace(gateway=gateway, proxy=proxy, web_url="http://127.0.0.1:8081"))
    assert lines[3] == (
        f"1. Set up an app:         http://127.0.0.1:8081/apps/new (or write {tmp_path}/policies/<app>.toml), "
        "then: gateway connect <app>"
    )
    assert lines[4] == "2. Let a program use it:  gateway clients create laptop --connection 'my-<app>'"
