"""What is pasted: each value whole where it stands, whatever it holds, and the token nowhere but where it must be."""

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.secret import Secret
from gateway.settings import Listen, load_settings
from gateway.web.recipes import PLACEHOLDER, Block, Place, recipes

TOKEN = "gwc_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-_"
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DOCKERFILE = (Path(__file__).parents[2] / "Dockerfile").read_text()
# Each program shows its arguments and the variables that tell of the gateway, in place of doing anything.
PRELUDE = """
show() { printf '%s\\0' "$@" '' "$http_proxy" "$https_proxy" "$no_proxy"; }
curl() { case " $* " in *' --output '*) ;; *) show curl "$@";; esac; }
docker() { show docker "$@"; }
n8n() { show n8n "$@"; }
node() { show node "$@"; }
gh() { show gh "$@"; cat; }
"""


def place(**given: object) -> Place:
    usual = {
        "proxy": Listen("127.0.0.1", 8080),
        "certificate_url": "http://127.0.0.1:8081/ca.pem",
        "connection": "crm-ann",
        "token": Secret(TOKEN),
        "target": "https://api.example.com/v1/me",
        "no_proxy": "localhost,127.0.0.1,::1",
    }
    return Place(**(usual | given))


def blocks(where: Place) -> dict[str, Block]:
    return {block.id: block for recipe in recipes(where) for block in recipe.blocks}


def run(block: Block, directory: Path) -> list[str]:
    """Run a shell block with stand-ins for every program; returns the arguments and variables that the last one saw."""
    done = subprocess.run(
        ["/bin/sh", "-eu", "-c", PRELUDE + block.text],
        cwd=directory,
        env={
            "PATH": "/usr/bin:/bin",
            "GATEWAY_CLIENT_TOKEN": TOKEN,
            "no_proxy": "",
            "http_proxy": "",
            "https_proxy": "",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split("\0")


connections = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
proxies = st.builds(
    Listen,
    st.sampled_from(["127.0.0.1", "::1", "localhost", "10.1.2.3", "2001:db8::1", "gateway.internal", "gw_1.svc"]),
    st.integers(1, 65535),
)
# Whatever a clean URL may hold, and what each language would take for its own.
pieces = st.sampled_from(
    [
        *(
            "'",
            '"',
            "$",
            "$(id)",
            "`id`",
            "${x}",
            "$HOME",
            "$$(x)",
            "${{secrets.X}}",
            "{{x}}",
            "{%raw%}",
            "{a,b}",
            "[1-3]",
        ),
        *("&", ";", "|", "<", ">", "*", "?", "!", "~", "(", ")", "^", ",", ":", "=", "@", "%20", "/", "a"),
    ]
)
tails = st.lists(pieces, max_size=8).map("".join).filter(lambda text: not text.startswith("/"))
targets = st.builds(
    lambda scheme, tail: f"{scheme}://api.example.com/{tail}", st.sampled_from(["http", "https"]), tails
)
places = st.builds(place, connection=connections, proxy=proxies, target=targets)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(where=places)
def test_a_shell_takes_each_value_for_what_it_is(where, tmp_path):
    """The target is one argument, byte for byte; the proxy names the connection; the token is in no argument."""
    found = blocks(where)
    proxy = f"http://{where.connection}:{TOKEN}@{where.proxy.authority}"
    for name in ("shell_sh", "curl_sh", "docker_sh", "n8n_sh", "node_sh"):
        seen = run(found[name], tmp_path)
        end = seen.index("")
        arguments, (http, https, no_proxy) = seen[:end], seen[end + 1 : end + 4]
        assert not [argument for argument in arguments if TOKEN in argument], name
        if name in {"shell_sh", "curl_sh", "docker_sh"}:
            assert arguments[-1] == where.target
        if name in {"shell_sh", "n8n_sh"}:
            assert http == https == proxy
            assert no_proxy.startswith(where.no_proxy)
        if name == "curl_sh":
            assert (https if where.trust else http) == proxy
    variables = dict(line.split("=", 1) for line in (tmp_path / "gateway.env").read_text().splitlines())
    host = f"host.docker.internal:{where.proxy.port}" if where.on_loopback else where.proxy.authority
    assert {variables[name] for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")} == {
        f"http://{where.connection}:{TOKEN}@{host}"
    }
    assert (tmp_path / "gateway.env").stat().st_mode & 0o077 == 0


@given(where=places)
def test_python_and_javascript_take_the_target_for_what_it_is(where):
    found = blocks(where)
    for name in ("call_requests_py", "call_httpx_py"):
        constants = {node.value for node in ast.walk(ast.parse(found[name].text)) if isinstance(node, ast.Constant)}
        assert where.target in constants
        assert TOKEN not in found[name].text
    for name, expected in (
        ("unchanged_mjs", where.target),
        ("call_mjs", f"http://{where.proxy.authority}/c/{where.connection}/{where.target}"),
    ):
        literal = re.match(r'const answer = await fetch\(("(?:[^"\\]|\\.)*")', found[name].text)
        assert json.loads(literal[1]) == expected


@settings(max_examples=25)
@given(where=places)
def test_yaml_takes_each_value_for_what_it_is_and_nobody_fills_in_more(where):
    """Kubernetes puts variables in place of $(NAME), GitHub's runner what it evaluates in place of ${{ }}."""
    found = blocks(where)
    secret, job = yaml.load_all(found["kubernetes_yaml"].text, Loader)
    assert secret["stringData"] == {"proxy": f"http://{where.connection}:{TOKEN}@127.0.0.1:8080"}
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert expanded(container["env"][-1]["value"], {"id": "a value", "x": "another"}) == where.target
    workflow = yaml.load(found["github_workflow_yml"].text, Loader)
    step = workflow["jobs"]["call"]["steps"][-1]
    assert evaluated(step["env"]["TARGET"]) == where.target
    assert step["env"]["https_proxy"] == (
        f"http://{where.connection}:${{{{ secrets.GATEWAY_CLIENT_TOKEN }}}}@{where.proxy.authority}"
    )
    assert TOKEN not in found["github_workflow_yml"].text
    names = [name.lower() for name in step["env"]]
    assert len(names) == len(set(names)), "GitHub takes names for the same whatever their case, and refuses the file"


def expanded(value: str, variables: dict[str, str]) -> str:
    """Do as Kubernetes does: $(NAME) is replaced where NAME is known, and $$ stands for one $ before a bracket."""
    return re.sub(
        r"\$\$|\$\(([^)]*)\)",
        lambda found: "$" if found[0] == "$$" else variables.get(found[1], found[0]),
        value,
    )


def evaluated(value: str) -> str:
    """Do as GitHub's runner does: an expression that is one literal is that text; any other would be something else."""
    return re.sub(
        r"\$\{\{(?: '((?:[^']|'')*)' \}\})?",
        lambda found: found[1].replace("''", "'") if found[1] else "evaluated",
        value,
    )


def test_the_token_stands_in_marked_blocks_alone_and_no_repr_has_it():
    made = recipes(place())
    assert TOKEN not in repr(made)
    for recipe in made:
        for block in recipe.blocks:
            assert block.holds_token == (TOKEN in block.text)
            assert block.text.count(TOKEN) <= 1, block.id
    assert {block.id for recipe in made for block in recipe.blocks if block.holds_token} == {
        *("shell_sh", "curl_sh", "token_sh", "docker_sh", "kubernetes_yaml", "n8n_node", "n8n_sh", "github_secret_sh")
    }


def test_where_the_token_is_not_known_any_more_its_place_is_marked():
    made = recipes(place(token=PLACEHOLDER))
    assert [recipe.id for recipe in made if not any(block.holds_token for block in recipe.blocks)] == []
    assert "crm-ann:CLIENT_TOKEN@127.0.0.1:8080" in made[0].blocks[0].text


def test_an_http_target_needs_no_certificate():
    for recipe in recipes(place(target="http://api.example.com/")):
        for block in recipe.blocks:
            assert "ca.pem" not in block.text, block.id
            assert "CA_" not in block.text, block.id


def test_a_program_whose_machine_is_the_gateways_to_reach_exempts_nothing():
    found = blocks(place(no_proxy=""))
    assert "no_proxy" not in found["shell_sh"].text
    assert "no_proxy='*.n8n.io'" in found["n8n_sh"].text


@pytest.mark.parametrize(
    "wrong",
    [
        {"connection": "crm ann"},
        {"connection": 'x"; id; "'},
        {"connection": ""},
        {"token": Secret("gwc_a'b")},
        {"token": Secret("")},
        {"proxy": Listen("a b", 80)},
        {"proxy": Listen("x;id", 80)},
        {"target": "ftp://api.example.com/"},
        {"target": "https://api.example.com/a b"},
        {"target": "https://api.example.com/\nid"},
        {"certificate_url": "file:///etc/passwd"},
    ],
)
def test_what_no_text_could_quote_is_refused_and_the_token_isnt_repeated(wrong):
    with pytest.raises(ValueError, match=r"\w") as raised:
        place(**wrong)
    assert "gwc_" not in str(raised.value)


def test_the_sidecar_is_the_image_as_it_is_built(monkeypatch):
    """Its variables are keys of the configuration, its probe is the image's own, and it listens where the job looks."""
    secret, job = yaml.load_all(blocks(place())["kubernetes_yaml"].text, Loader)
    pod = job["spec"]["template"]["spec"]
    (sidecar,) = pod["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert pod["restartPolicy"] == "Never"
    assert f"docker build -t {sidecar['image']} " in DOCKERFILE
    assert json.dumps(sidecar["startupProbe"]["exec"]["command"]) in DOCKERFILE
    assert "USER 10001:10001" in DOCKERFILE, "what runAsNonRoot asks for"
    assert 'CMD ["serve"]' in DOCKERFILE, "the container names no arguments"
    assert {mount["name"] for mount in sidecar["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    for variable in sidecar["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    found = load_settings(None)
    assert found.proxy.listen.authority in secret["stringData"]["proxy"]
    assert f"http://{found.web.listen}/ca.pem" in pod["containers"][0]["args"][0]
    assert str(found.policies_dir) == sidecar["volumeMounts"][0]["mountPath"]
