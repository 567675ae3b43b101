"""The compose file: right by its specification, each container confined, and the gateway's settings really load."""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.admin.token import load_admin_token
from gateway.app.master import read_master_key
from gateway.app.serving import running
from tests.deploy.calling import OPENED, call, connected, settings_in
from tests.deploy.conftest import Service
from tests.deploy.containers import DEPLOY, IMAGE, RENEWING, USER, settings_of, tool, user_of_the_image
from tests.ports import free_port

HERE = DEPLOY / "compose"
FILE: dict[str, Any] = yaml.safe_load((HERE / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]


def test_it_holds_to_the_specification_of_compose():
    """Read by the specification's own implementation, with its schema and with what it makes of names and paths."""
    said = subprocess.run(
        [tool("compose-go"), "-format", "json", "compose.yml"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert said.returncode == 0, said.stderr
    read = json.loads(said.stdout)
    assert set(read["services"]) == set(SERVICES)
    (policies,) = read["services"]["gateway"]["volumes"]
    assert Path(policies["source"]).resolve() == DEPLOY.parent / "policies"


def test_what_the_specification_does_not_know_is_refused(tmp_path: Path):
    """The check above can fail."""
    wrong = (HERE / "compose.yml").read_text().replace("read_only: true\n    cap_drop", "readonly: true\n    cap_drop")
    (tmp_path / "compose.yml").write_text(wrong)
    said = subprocess.run([tool("compose-go"), tmp_path / "compose.yml"], capture_output=True, check=False)
    assert said.returncode != 0


def test_haproxy_takes_its_configuration():
    said = subprocess.run(
        [tool("haproxy"), "-c", "-f", HERE / "haproxy.cfg"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr + said.stdout
    assert "warning" not in (said.stderr + said.stdout).lower()


async def test_haproxy_finds_the_gateways_that_are_there_and_passes_calls_on(tmp_path: Path, service: Service):
    """The file as it is, but for where things listen: of two gateways one doesn't, and no call meets it."""
    text, ports = (HERE / "haproxy.cfg").read_text(), {port: free_port() for port in ("8080", "8081", "8404")}
    async with running(settings_in(tmp_path, service)) as now:
        token = await connected(now)
        for port, own in ports.items():
            text = text.replace(f":{port}\n    default_backend", f"127.0.0.1:{own}\n    default_backend")
            text = text.replace(f"bind 127.0.0.1:{port}\n", f"bind 127.0.0.1:{own}\n")
        for name, port in (("8080", now.proxy.port), ("8081", now.web.port)):
            there = f"server there 127.0.0.1:{port} check port {now.web.port}"
            gone = f"server gone 127.0.0.1:{free_port()} check port {free_port()}"
            text = text.replace(f"server-template gateway 16 gateway:{name}", f"{there}\n    {gone}")
        text = text.replace("check port 8081 ", "").replace("init-addr none resolvers docker", "")
        text = (
            text.replace("maxconn 20000", "maxconn 100")
            .replace("inter 2s", "inter 50ms")
            .replace("    parse-resolv-conf\n", "")
        )
        assert ":8080" not in text
        (tmp_path / "haproxy.cfg").write_text(text)
        process = await asyncio.create_subprocess_exec(
            tool("haproxy"),
            "-db",
            "-f",
            tmp_path / "haproxy.cfg",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None
        try:
            said = b""
            while b"gone is DOWN" not in said:
                line = await process.stdout.readline()
                assert line, said.decode()
                said += line
            for _ in range(4):
                assert await call(now, token, service, int(ports["8080"])) == OPENED
        finally:
            process.kill()
            await process.communicate()


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined_and_watched(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert {"pids_limit", "mem_limit"} <= set(service)
    assert "healthcheck" in service or service["image"] == IMAGE  # the image has its own
    assert all(volume.get("read_only") for volume in service.get("volumes", ()) if volume["type"] == "bind")
    assert not {"privileged", "network_mode", "pid", "ipc", "user"} & set(service)


def test_the_gateways_are_several_and_the_database_is_theirs_alone():
    assert SERVICES["gateway"]["deploy"]["replicas"] >= 2
    assert SERVICES["gateway"]["image"] == IMAGE
    assert [name for name, service in SERVICES.items() if "store" in service["networks"]] == ["gateway", "postgresql"]
    assert FILE["networks"]["store"] == {"internal": True}
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["balancer"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["balancer"]["ports"])


def test_no_secret_stands_in_it():
    text = (HERE / "compose.yml").read_text()
    assert not [line for line in text.splitlines() if "PASSWORD" in line and "_FILE" not in line]
    assert FILE["secrets"].keys() == {name for service in SERVICES.values() for name in service.get("secrets", ())}


@pytest.fixture
def settings(monkeypatch, tmp_path):
    given = {
        name: value.replace("${GATEWAY_PUBLIC_URL:-http://127.0.0.1:8081}", "https://gateway.example.com")
        for name, value in SERVICES["gateway"]["environment"].items()
    }
    return settings_of(given, {}, monkeypatch, tmp_path)


def test_the_gateway_s_settings_load_and_what_they_name_is_there(settings):
    gateway = SERVICES["gateway"]
    secrets = {f"/run/secrets/{name}" for name in gateway["secrets"]}
    assert settings.keys.source.removeprefix("file:") in secrets
    assert f"{settings.data_dir}/admin.token" in secrets
    assert gateway["environment"]["PGPASSFILE"] in secrets
    assert str(settings.policies_dir) in {volume["target"] for volume in gateway["volumes"]}
    assert settings.store.url == "postgresql://gateway@postgresql/gateway"
    assert _seconds(gateway["stop_grace_period"]) >= settings.timeouts.shutdown + RENEWING


def test_haproxy_goes_where_the_gateways_listen_and_waits_longer_than_they_do(settings):
    text = (HERE / "haproxy.cfg").read_text()
    for name, listen in (("proxy", settings.proxy.listen), ("web", settings.web.listen)):
        assert f"frontend {name}\n    bind :{listen.port}\n" in text
        assert f" gateway:{listen.port}\n" in text
    assert f"check port {settings.web.listen.port} " in text
    for kind in ("client", "server", "tunnel"):
        assert f"timeout {kind} 6m\n" in text
    assert settings.timeouts.idle < 6 * 60


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The secrets, as the script makes them."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    shutil.copy(HERE / "make-secrets.sh", tmp_path)
    for _ in range(2):  # what is there stays
        subprocess.run(["sh", tmp_path / "make-secrets.sh"], check=True)
        kept = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert kept == {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    return tmp_path / "secrets"


def test_the_script_makes_every_secret_and_the_gateway_takes_them(made: Path, settings):
    assert {file.name for file in made.iterdir()} == set(FILE["secrets"])
    assert all(file.stat().st_mode & 0o777 == 0o400 for file in made.iterdir())
    owners = {name: (made / name).stat().st_uid for name in FILE["secrets"]}
    assert owners == dict.fromkeys(SERVICES["gateway"]["secrets"], USER) | {"database.password": 0}
    assert user_of_the_image() == USER
    for file in made.iterdir():
        os.chown(file, 0, 0)  # read here by root, in a directory of root's: in the container by its user
    assert len(read_master_key(f"file:{made}/master.key") or b"") == 32
    assert load_admin_token(settings.model_copy(update={"data_dir": made}), {}).reveal().startswith("gwa_")
    password = (made / "database.password").read_text()
    assert (made / "pgpass").read_text() == f"*:*:*:gateway:{password}\n"


def test_what_the_script_makes_is_not_checked_in_nor_sent_to_the_build():
    assert "/deploy/compose/secrets/" in (DEPLOY.parent / ".gitignore").read_text().splitlines()
    assert "!deploy" not in (DEPLOY.parent / ".dockerignore").read_text()


def _seconds(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]
