"""Each recipe for a runner, as it is pasted, against the real gateway: an answer, and one credential at the service.

What is no program here (Docker, a cluster, GitHub's runner, n8n) is stood in for by one of ours, which reads what it is
given by that program's own rules and runs the rest in a plain process.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import playwright
import pytest
import yaml

from gateway.secret import Secret
from gateway.settings import Listen
from gateway.web.recipes import Block, Place, recipes
from tests.e2e.harness.clients import NODE_SCRIPT
from tests.e2e.harness.wire import assert_nothing_of_the_gateway, assert_one_credential

PATH = "/v1/json?a=b&c=$HOME&d=(e);f=*"
ANSWER = {"method": "GET", "target": PATH}
PATIENCE = 40
PLAYWRIGHTS_NODE = str(Path(playwright.__file__).parent / "driver" / "node")

DOCKER = """
import os, subprocess, sys
given = iter(sys.argv[1:])
assert (next(given), next(given)) == ("run", "--rm")
variables, volumes, hosts = {}, {}, {}
for word in given:
    if word == "--env-file":
        variables |= dict(line.rstrip("\\n").split("=", 1) for line in open(next(given)))
    elif word == "--volume":
        outside, inside, mode = next(given).rsplit(":", 2)
        assert mode == "ro" and outside.startswith("/")
        volumes[inside] = outside
    elif word == "--add-host":
        name, _, address = next(given).partition(":")
        assert address == "host-gateway"
        hosts[name] = "127.0.0.1"
    else:
        assert word == "curlimages/curl", word
        break
for name, value in variables.items():
    value = volumes.get(value, value)
    for host, address in hosts.items():
        value = value.replace(f"@{host}:", f"@{address}:")
    variables[name] = value
raise SystemExit(subprocess.run(list(given), env={"PATH": os.environ["PATH"]} | variables).returncode)
"""
GH = """
import pathlib, sys
assert sys.argv[1:3] == ["secret", "set"]
pathlib.Path(sys.argv[3] + ".secret").write_text(sys.stdin.read().rstrip("\\r\\n"))
"""
# proxy-from-env, by which n8n finds its proxy, asks for the lower-case names first. Newer ones open a tunnel for https,
# older ones (axios's own way) name the https URL to the proxy in absolute-form.
N8N = """
import json, os, subprocess, sys
assert sys.argv[1:] == ["start"]
url = os.environ["TARGET"]
proxy = os.environ[url.partition(":")[0] + "_proxy"]
for entrance in {"connect", "absolute"} if url.startswith("https:") else {"absolute"}:
    wish = {"entrance": entrance, "proxy": proxy, "method": "GET", "url": url, "headers": [], "hasBody": False}
    done = subprocess.run(["node", os.environ["NODE_SCRIPT"], json.dumps(wish)], capture_output=True, check=True)
    assert json.loads(done.stderr)["status"] == 200, done.stdout
sys.stdout.buffer.write(done.stdout)
"""


class Runner:
    """A directory with the programs that aren't here, and the recipes for one connection."""

    def __init__(self, directory: Path, place: Place) -> None:
        self.directory, self.place = directory, place
        self.recipes = {recipe.id: recipe for recipe in recipes(place)}
        programs = directory / "bin"
        programs.mkdir()
        for name, text in (("docker", DOCKER), ("gh", GH), ("n8n", N8N)):
            (programs / name).write_text(f"#!{sys.executable}\n{text}")
            (programs / name).chmod(0o700)
        kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower() and "CA_" not in name}
        self.environment = kept | {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TARGET": place.target,
            "NODE_SCRIPT": str(NODE_SCRIPT),
        }

    def blocks(self, recipe: str) -> dict[str, Block]:
        return {block.id: block for block in self.recipes[recipe].blocks}

    def save(self, *blocks: Block) -> None:
        for block in blocks:
            (self.directory / block.file).write_text(block.text)

    def run(self, *command: str, **variables: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def shell(self, *texts: str) -> str:
        """Run what is typed into one shell, one text after the other."""
        return self.run("sh", "-eu", "-c", "\n".join(texts))


@pytest.fixture(params=["https", "http"])
def runner(request, tmp_path, gateway, tagged, upstream) -> Runner:
    """What the page gives somebody whose example is https, for which the CA must be trusted, or http."""
    return Runner(
        tmp_path,
        Place(
            proxy=Listen("127.0.0.1", gateway.port),
            certificate_url=f"http://127.0.0.1:{gateway.web_port}/ca.pem",
            connection=tagged.connection,
            token=Secret(tagged.token),
            target=getattr(upstream, request.param) + PATH,
            no_proxy="",
        ),
    )


@pytest.fixture
def served(runner, tagged, upstream, provider):
    """Check what the service got: so many requests, each as the target says, with one credential, nothing of ours."""

    def check(count: int = 1) -> None:
        for request in upstream.wait_for(count):
            assert request.tls == runner.place.trust
            assert request.line == f"GET {PATH} HTTP/1.1".encode()
            assert_one_credential(request, provider, tagged.application)
            assert_nothing_of_the_gateway(request, connection=tagged.connection, token=tagged.token)
        assert len(upstream.requests) == count

    return check


@pytest.mark.parametrize("recipe", ["shell", "curl", "docker"])
def test_what_is_one_text_for_a_shell(recipe, runner, served):
    (block,) = runner.recipes[recipe].blocks

    assert json.loads(runner.shell(block.text)) == ANSWER
    served()


def test_python_with_requests_and_with_httpx(runner, served):
    made = runner.blocks("python")
    runner.save(made["call_requests_py"], made["call_httpx_py"])

    for program in ("call_requests.py", "call_httpx.py"):
        assert json.loads(runner.shell(made["token_sh"].text, f"{sys.executable} {program}")) == ANSWER
    served(2)


def test_any_node_by_the_path(runner, served):
    made = runner.blocks("node")
    runner.save(made["call_mjs"])

    assert json.loads(runner.shell(made["token_sh"].text, "node call.mjs")) == ANSWER
    served()


def test_an_unchanged_program_of_a_node_that_reads_the_variables(runner, served):
    """Since 24.5, and 22.21 of the older line; before that, fetch takes no proxy."""
    node = next((node for node in ("node", PLAYWRIGHTS_NODE) if reads_variables(runner.run(node, "--version"))), None)
    if node is None:
        pytest.skip("no Node here reads the proxy variables")
    made = runner.blocks("node")
    runner.save(made["unchanged_mjs"])

    function = f"node() {{ '{node}' \"$@\"; }}"
    assert json.loads(runner.shell(function, made["token_sh"].text, made["node_sh"].text)) == ANSWER
    served()


def reads_variables(version: str) -> bool:
    major, minor = map(int, version.strip().removeprefix("v").split(".")[:2])
    return (major, minor) >= (24, 5) or (major == 22 and minor >= 21)


def test_a_job_in_kubernetes(runner, served, gateway):
    """The job's own container, with what the pod gives it; its sidecar is the gateway here, on other ports."""
    (block,) = runner.recipes["kubernetes"].blocks
    secret, job = yaml.safe_load_all(block.text)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    variables: dict[str, str] = {}
    for variable in container["env"]:
        value = variable.get("value")
        if value is None:
            reference = variable["valueFrom"]["secretKeyRef"]
            assert reference["name"] == secret["metadata"]["name"]
            value = secret["stringData"][reference["key"]]
        value = re.sub(r"\$\$|\$\((\w+)\)", lambda found: variables[found[1]] if found[1] else "$", value)
        variables[variable["name"]] = here(value, runner, gateway)
    (script,) = container["args"]

    assert json.loads(runner.run(*container["command"], here(script, runner, gateway), **variables)) == ANSWER
    served()


def here(text: str, runner: Runner, gateway) -> str:
    """Put what stands for the pod's loopback and its /tmp in their place."""
    text = text.replace("@127.0.0.1:8080", f"@127.0.0.1:{gateway.port}")
    text = text.replace("//127.0.0.1:8081/", f"//127.0.0.1:{gateway.web_port}/")
    return text.replace("/tmp/gateway-ca.pem", str(runner.directory / "gateway-ca.pem"))


def test_a_workflow_of_github_actions(runner, served, tagged):
    """The secret is set by the command, and the workflow's steps run as GitHub's runner does it: `bash -e`."""
    made = runner.blocks("github")
    assert tagged.token not in made["github_workflow_yml"].text
    runner.shell(made["github_secret_sh"].text)
    workflow = yaml.safe_load(made["github_workflow_yml"].text)
    context = {"secrets.GATEWAY_CLIENT_TOKEN": tagged.token, "runner.temp": str(runner.directory)}
    assert (runner.directory / "GATEWAY_CLIENT_TOKEN.secret").read_text() == tagged.token

    for step in workflow["jobs"]["call"]["steps"]:
        variables = {
            name: re.sub(r"\$\{\{ (.*?) \}\}", lambda found: context[found[1]], value)
            for name, value in step.get("env", {}).items()
        }
        printed = runner.run("bash", "-e", "-c", step["run"], RUNNER_TEMP=str(runner.directory), **variables)

    assert json.loads(printed) == ANSWER
    served()


def test_one_node_of_n8n_with_the_token_among_its_credentials(runner, served):
    block = runner.blocks("n8n")["n8n_node"]
    filled = dict(re.split(r" {2,}", line, maxsplit=1) for line in block.text.splitlines())
    assert (filled["Authentication"], filled["Generic Auth Type"]) == ("Generic Credential Type", "Bearer Auth")
    wish = {
        "entrance": "path",
        "method": filled["Method"],
        "url": filled["URL"],
        "headers": [("Authorization", f"Bearer {filled['Bearer Token']}")],
        "hasBody": False,
    }

    assert json.loads(runner.run("node", str(NODE_SCRIPT), json.dumps(wish))) == ANSWER
    served()


def test_all_nodes_of_n8n_by_its_environment(runner, served):
    assert json.loads(runner.shell(runner.blocks("n8n")["n8n_sh"].text)) == ANSWER
    served(2 if runner.place.trust else 1)
