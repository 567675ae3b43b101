"""The command line as it is really used: as a program, beside a server."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.programs import Server, program, serving, surroundings

# The caller's environment, its proxy variables and its CA files, as it would find them.
TELL = """
import json, os, ssl, sys, urllib.error, urllib.request
try:
    status, code = urllib.request.urlopen("http://127.0.0.1:1/", timeout=5).status, None
except urllib.error.HTTPError as error:
    status, code = error.status, json.load(error)["code"]
context = ssl.create_default_context()
ours = [ca for ca in context.get_ca_certs() if "Connection Gateway" in str(ca["subject"])]
print(json.dumps({"status": status, "code": code, "roots": len(context.get_ca_certs()), "ours": len(ours),
                  "arguments": sys.argv, "parent": open(f"/proc/{os.getppid()}/cmdline").read(),
                  "bundle": os.environ["SSL_CERT_FILE"], "token": os.environ.get("GATEWAY_CLIENT_TOKEN")}))
sys.exit(7)
"""

BENCH = """
name = "Bench"
base_url = "http://127.0.0.1:19000"
[allow]
urls = ["http://127.0.0.1:19000"]
[[fields]]
name = "api_key"
secret = true
[auth]
grant = "api_key"
[connection]
label = "{{ connection.id }}"
[inject.headers]
Authorization = "Bearer {{ api_key }}"
"""


MINTED = """
name = "Minted"
[allow]
urls = ["https://api.minted.test"]
[auth]
grant = "client_credentials"
client_id = "gateway"
client_secret = { env = "MINTED_SECRET" }
[auth.token]
url = "https://id.minted.test/token"
[inject.headers]
Authorization = "Bearer {{ access_token }}"
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gateway's directory with the connection `bench`."""
    place = tmp_path_factory.mktemp("gateway")
    (place / "policies").mkdir()
    (place / "policies" / "bench.toml").write_text(BENCH)
    made = program("connect", "bench", "--id", "bench", "--secret", "api_key=-", cwd=place, stdin="tok\n")
    assert made.status == 0, made.err
    return place


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[Server]:
    with serving(directory) as running:
        yield running


def at(server: Server) -> dict[str, str]:
    return {"GATEWAY_PROXY__LISTEN": f"127.0.0.1:{server.proxy}"}


def test_help_is_there_at_once() -> None:
    """Under 0.4 s of work, best of five: how busy the machine is is not the program's doing."""

    def seconds() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", "gateway", "--help"], env=surroundings(), capture_output=True, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert any(seconds() < 0.4 for _ in range(5))


def test_the_collector_comes_by_neither_in_a_short_command_nor_at_its_end(directory: Path) -> None:
    """It would walk what was imported, again and again, and once more at the end: a third of all the work."""
    code = """if True:
        import gc, os, sys
        from gateway.cli import main
        seen = []
        gc.callbacks.append(lambda phase, found: phase == "start" and seen.append(len(gc.get_objects())))
        def end(status):
            gc.collect()  # as Python does behind this
            print(seen)
            sys.stdout.flush()
            os._exit(status)
        sys.exit, sys.argv = end, ["gateway", "clients", "list", "--json"]
        main()
    """
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=directory, env=surroundings(), capture_output=True, text=True, check=True
    )
    (walked,) = json.loads(done.stdout.splitlines()[-1])
    assert walked < 1000


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, gateway.cli; print([m for m in sys.modules if m.split('.')[0] in %r])"
    heavy = ("pydantic", "aiohttp", "sqlalchemy", "structlog", "cryptography", "jinja2", "orjson", "asyncpg", "uvloop")
    done = subprocess.run(
        [sys.executable, "-c", code % (heavy,)], env=surroundings(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_the_commands_of_the_benchmark_work_as_they_are_written(directory: Path, server: Server) -> None:
    """The token alone on standard output, so that a shell can take it."""
    assert server.process.poll() is None
    script = f"""
        gateway() {{ {sys.executable} -m gateway "$@"; }}
        TOKEN=$(gateway clients create bench --connection bench)
        printf '%s' "$TOKEN"
    """
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=directory,
        env=surroundings(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"gwc_[A-Za-z0-9_-]{43}", done.stdout)


def test_run_gives_a_program_all_it_needs_and_takes_it_back(directory: Path, server: Server) -> None:
    """Proxy and trust by the environment alone; the client lives as long as the program, whose status is handed on."""
    permitted = {"GATEWAY_EGRESS__ALLOW_NETWORKS": "127.0.0.1/32"}
    done = program("run", "bench", "--", sys.executable, "-c", TELL, cwd=directory, environment=at(server) | permitted)
    assert done.status == 7, done.err
    told = json.loads(done.out)
    assert (told["status"], told["code"]) == (403, "target_not_allowed")
    assert told["ours"] == 1
    assert told["roots"] > 1
    assert "gwc_" not in str(told["arguments"]) + told["parent"]
    assert not Path(told["bundle"]).exists()
    assert "run-" not in program("clients", "list", cwd=directory).out


def test_run_takes_a_token_from_the_environment_and_does_not_hand_it_on(directory: Path, server: Server) -> None:
    token = program("clients", "create", "own", "--connection", "bench", cwd=directory).out.strip()
    given = at(server) | {"GATEWAY_CLIENT_TOKEN": token, "GATEWAY_EGRESS__ALLOW_NETWORKS": "127.0.0.1/32"}
    done = program("run", "bench", "--", sys.executable, "-c", TELL, cwd=directory, environment=given)
    told = json.loads(done.out)
    assert (told["code"], told["token"]) == ("target_not_allowed", None)


def test_run_hands_no_secret_of_the_gateways_on(directory: Path, server: Server) -> None:
    """The master key, the admin token, the webhook's secret and an app's client secret, each from where it may be."""
    (directory / "policies" / "minted.toml").write_text(MINTED)
    key = (directory / "data" / "master.key").read_text().strip()
    secret = {
        "GATEWAY_ADMIN_TOKEN": "hush-admin-token-of-ours",
        "GATEWAY_WEBHOOK__URL": "https://hooks.test/hush",
        "MASTER": key,
        "HOOK": "hush-hook",
        "MINTED_SECRET": "hush-client",
    }
    places = {"GATEWAY_KEYS__SOURCE": "env:MASTER", "GATEWAY_WEBHOOK__SECRET": "env:HOOK", "STAYS": "here"}
    permitted = {"GATEWAY_EGRESS__ALLOW_NETWORKS": "127.0.0.1/32"}
    done = program("run", "bench", "--", "env", cwd=directory, environment=at(server) | permitted | secret | places)
    (directory / "policies" / "minted.toml").unlink()
    assert done.status == 0, done.err
    assert [value for value in secret.values() if value in done.out] == []
    assert "STAYS=here" in done.out


def test_run_says_that_a_token_is_not_known(directory: Path, server: Server) -> None:
    done = program("run", "bench", "--client-token", "gwc_wrong", "--", "true", cwd=directory, environment=at(server))
    assert done.status == 1
    assert "does not take this client token" in done.err
    assert "gwc_wrong" not in done.err


def test_run_says_that_a_program_is_not_there(directory: Path, server: Server) -> None:
    done = program("run", "bench", "--", "no-such-program", cwd=directory, environment=at(server))
    assert (done.status, done.err) == (127, "error: no-such-program: can't be run: No such file or directory\n")


def test_run_passes_a_signal_on(directory: Path, server: Server) -> None:
    """SIGTERM to us ends the program, and its client goes as well."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "run", "bench", "--", "sh", "-c", "echo up; exec sleep 60"],
        cwd=directory,
        env=surroundings() | at(server),
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.terminate()
        assert process.wait(10) == 128 + 15


@pytest.mark.timeout(60)
def test_the_demo_keeps_its_promises(tmp_path: Path) -> None:
    """Every step comes true, and nothing is left behind."""
    done = program("demo", cwd=tmp_path, environment={"TMPDIR": str(tmp_path)}, timeout=60)
    assert done.status == 0, done.out + done.err
    assert "✗" not in done.out
    for shown in ("Authorization: Bearer sandbox-1-", "→ 401", "target_not_allowed", "hint: ", "via': 'https'"):
        assert shown in done.out
    assert list(tmp_path.iterdir()) == []


def test_a_signal_before_the_program_begins_leaves_no_client(directory: Path) -> None:
    """What stands on the proxy's port takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen(
            [sys.executable, "-m", "gateway", "run", "bench", "--", "true"],
            cwd=directory,
            env=surroundings() | {"GATEWAY_PROXY__LISTEN": address},
        ) as process:
            silent.settimeout(20)
            connection, _ = silent.accept()
            with connection:
                process.terminate()
                assert process.wait(10) == 128 + 15
    assert "run-" not in program("clients", "list", cwd=directory).out
