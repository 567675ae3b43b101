"""The units: systemd takes them, they leave little open, and the gateway really runs in them."""

import base64
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from gateway.settings import PREFIX, load_settings
from tests.deploy.containers import DEPLOY, RENEWING, ROOT, tool
from tests.deploy.own_systemd import PROGRAM, Machine, machine

HERE = DEPLOY / "systemd"
SERVICE = "connection-gateway.service"
SOCKETS = {"proxy": "connection-gateway-proxy.socket", "web": "connection-gateway-web.socket"}
LEFT_OPEN = 1.3
"""Of ten, by systemd's own reckoning; what is left is the network, which a proxy needs."""
INSTALLED = "/opt/connection-gateway/bin/gateway"
CLIENTS = "http://127.0.0.1:8081/api/v1/clients"


def unit(name: str) -> dict[str, list[str]]:
    """Return the keys of a unit, each with all its values."""
    found: dict[str, list[str]] = {}
    for line in (HERE / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


GIVEN = unit(SERVICE)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with a program that is really there."""
    for name in (SERVICE, *SOCKETS.values()):
        text = (HERE / name).read_text().replace(INSTALLED, "/bin/true")
        (tmp_path / name).write_text(text)
    return tmp_path


def verify(units: Path) -> str:
    files = [units / name for name in (SERVICE, *SOCKETS.values())]
    said = subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )
    return said.stdout + said.stderr + (f"\nstatus {said.returncode}" if said.returncode else "")


def test_systemd_finds_nothing_wrong_with_them(units: Path):
    assert verify(units) == ""


def test_a_key_that_systemd_does_not_know_is_found(units: Path):
    """The check above can fail."""
    text = (units / SERVICE).read_text()
    (units / SERVICE).write_text(text.replace("ProtectProc=", "ProtectProcs="))
    assert "ProtectProcs" in verify(units)


def test_little_is_left_open(units: Path):
    said = subprocess.run(
        [tool("systemd-analyze"), "security", "--offline=true", "--json=short", units / SERVICE],
        capture_output=True,
        text=True,
        check=True,
    )
    left = {one["json_field"]: float(one["exposure"]) for one in json.loads(said.stdout) if one["exposure"]}
    assert left, "nothing was reckoned"
    overall = subprocess.run(
        [tool("systemd-analyze"), "security", "--offline=true", f"--threshold={int(LEFT_OPEN * 10)}", units / SERVICE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert overall.returncode == 0, overall.stdout.splitlines()[-1]
    assert {name for name, exposure in left.items() if exposure >= 0.3} == {
        "PrivateNetwork",
        "RestrictAddressFamilies_AF_INET_INET6",
    }


def test_the_gateway_s_settings_load_and_fit_the_unit(monkeypatch):
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    state, credentials = "/var/lib", "/run/credentials/" + SERVICE
    for pair in GIVEN["Environment"]:
        name, _, value = pair.replace("%S", state).replace("%d", credentials).partition("=")
        assert "%" not in value
        monkeypatch.setenv(name, value)
    assert os.environ["GATEWAY_CONFIG"] == "/etc/connection-gateway/config.toml"
    settings = load_settings(HERE / "config.toml")
    (credential,) = [value.partition(":")[0] for value in GIVEN["LoadCredential"]]
    assert settings.keys.source == f"file:{credentials}/{credential}"
    (kept,) = GIVEN["StateDirectory"]
    assert [str(settings.data_dir), str(settings.policies_dir)] == [f"{state}/{one}" for one in kept.split()]
    assert float(GIVEN["TimeoutStopSec"][0]) >= settings.timeouts.shutdown + RENEWING
    assert int(GIVEN["LimitNOFILE"][0]) >= 2 * settings.limits.connections + 256
    for name, file in SOCKETS.items():
        socket = unit(file)
        assert socket["FileDescriptorName"] == [name]
        assert socket["Service"] == [SERVICE]
        assert socket["ListenStream"] == [str(getattr(settings, name).listen)]
    assert GIVEN["Sockets"] == [" ".join(SOCKETS.values())]


def test_what_the_unit_sets_does_not_stand_in_the_file_beside_it():
    """What the environment says wins: whoever edits the file would change nothing."""
    variables = {pair.partition("=")[0] for pair in GIVEN["Environment"]}
    section = ""
    for line in (HERE / "config.toml").read_text().splitlines():
        section = line.strip("[]") if line.startswith("[") else section
        if match := re.match(r"(\w+) = ", line):
            assert f"{PREFIX}{f'{section}__' if section else ''}{match[1]}".upper() not in variables, line


CALLS = """
import http.client, os, time
refused = answered = 0
while not os.path.exists("/run/enough"):
    connection = http.client.HTTPConnection("127.0.0.1", 8081, timeout=20)
    try:
        connection.request("GET", "/healthz")
        answered += connection.getresponse().status == 200
    except OSError:
        refused += 1
    connection.close()
    time.sleep(0.005)
print(answered, refused)
"""


def test_under_a_systemd_it_runs_confined_reloads_and_is_restarted_without_a_refused_connection():
    """The units and the command as they are: only the program's path is the test's."""
    given = {
        f"units/{SERVICE}.d/test.conf": "[Service]\nExecStart=\nExecStart=/mnt/place/gateway serve\n"
        "StandardOutput=append:/mnt/place/said\nStandardError=append:/mnt/place/said\n",
        "units/test.target": f"[Unit]\nWants=dbus.service {SERVICE}\n",
        "etc/connection-gateway/config.toml": (HERE / "config.toml").read_text(),
        "etc/connection-gateway/master.key": base64.b64encode(bytes(range(32))).decode() + "\n",
        "command": (HERE / "connection-gateway.sh").read_text().replace(INSTALLED, "/mnt/place/gateway"),
        **{f"units/{name}": (HERE / name).read_text() for name in (SERVICE, *SOCKETS.values())},
    }
    with machine(given, ROOT) as own:
        own.run("systemctl", "start", SERVICE)  # ends when the gateway has said that it is ready
        state = show(own, "ActiveState", "SubState", "MainPID", "User", "DynamicUser")
        assert (state["ActiveState"], state["SubState"], state["DynamicUser"]) == ("active", "running", "yes")
        assert "ready" in own.run("curl", "--silent", "--fail", "http://127.0.0.1:8081/readyz")
        own.run("curl", "--silent", "--fail", "--output", "/dev/null", "http://127.0.0.1:8081/metrics")  # reads /proc
        status = own.run("cat", f"/proc/{state['MainPID']}/status")
        assert re.search(r"^Uid:\t(6[1-5]\d{3})\t\1\t\1\t\1$", status, re.MULTILINE)  # systemd.exec(5): of DynamicUser
        assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
        assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)
        assert re.search(r"^CapEff:\t0{16}$", status, re.MULTILINE)
        assert re.search(r"^CapBnd:\t0{16}$", status, re.MULTILINE)
        kept = own.run("find", "/var/lib/private/connection-gateway/", "-printf", "%m %P\n").splitlines()
        assert {"600 admin.token", "600 gateway.db", "700 policies", "700 "} <= set(kept)
        assert not [line for line in kept if "master.key" in line]

        own.run("systemctl", "reload", SERVICE)
        assert show(own, "MainPID")["MainPID"] == state["MainPID"]

        own.run("/mnt/place/command", "clients", "create", "laptop", "--connection", "crm-*")
        token = own.run("cat", "/var/lib/connection-gateway/admin.token").strip()
        said = own.run("curl", "--silent", "--fail", "-H", f"Authorization: Bearer {token}", CLIENTS)
        assert [one["name"] for one in json.loads(said)["items"]] == ["laptop"]

        answered, refused = restarted_meanwhile(own)
        assert (answered > 5, refused) == (True, 0)
        assert show(own, "MainPID")["MainPID"] != state["MainPID"]
        assert show(own, "NRestarts", "Result") == {"NRestarts": "0", "Result": "success"}


def show(own: Machine, *names: str) -> dict[str, str]:
    said = own.run("systemctl", "show", SERVICE, f"--property={','.join(names)}")
    return dict(line.split("=", 1) for line in said.splitlines())


def restarted_meanwhile(own: Machine) -> tuple[int, int]:
    """Restart it while somebody calls; return how many calls were answered and how many were not."""
    calls = f"LD_LIBRARY_PATH=/mnt/python/lib {PROGRAM} -c '{CALLS}' & calls=$!"
    script = f"{calls}; sleep 0.3; systemctl restart {SERVICE}; sleep 0.3; touch /run/enough; wait $calls"
    said = own.run("sh", "-c", script).split()
    return int(said[-2]), int(said[-1])
