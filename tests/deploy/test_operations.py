"""docs/operations.md: what it links to is there, its commands exist, its numbers are those of the files beside it."""

import re
import shlex

import pytest
import yaml

from gateway.app.chores import KEEP
from gateway.settings import Settings
from gateway.store.tallies import COARSE, KEPT
from gateway.store.tallies import KEEP as COUNTS
from gateway.vault.lives import KEPT as LIVES
from tests.deploy.containers import DEPLOY
from tests.deploy.test_kubernetes import PODS
from tests.test_house import wrong_use

DOCS = DEPLOY.parent / "docs"
PAGE = (DOCS / "operations.md").read_text()
TO_COME = {"alerts.md", "postgresql.md", "replicas.md", "running.md"}


def test_what_it_links_to_is_there():
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    files = {link.partition("#")[0] for link in links if "://" not in link} - {""}
    assert {file for file in files if not (DOCS / file).exists()} <= TO_COME
    headings = {
        re.sub(r"[^\w\- ]", "", line.strip("# ")).lower().replace(" ", "-")
        for line in PAGE.splitlines()
        if line.startswith("#")
    }
    assert {link.removeprefix("#") for link in links if link.startswith("#")} <= headings


def test_every_gateway_command_in_it_exists():
    inline = re.findall(r"`(gateway [^`]+)`", PAGE)
    nested = re.findall(r"(?:-- |exec gateway )(gateway [^`\n]+)", PAGE)
    used = [line.replace("…", "x") for line in [*inline, *nested]]
    assert len(used) > 8
    assert not [fault for line in used if (fault := wrong_use(line))]


def test_a_store_whose_certificate_is_to_be_checked_says_by_what():
    urls = re.findall(r"postgresql://[^\s'`]+verify-full[^\s'`]*", PAGE)
    assert urls
    assert all("&sslrootcert=/" in url for url in urls)


def test_every_file_that_a_command_names_is_there():
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    named = {word for word in shlex.split(blocks, comments=True) if "deploy/" in word}
    assert len(named) >= 6
    for word in named - {"deploy/connection-gateway"}:  # that one is Kubernetes' way to name a Deployment
        assert list(DEPLOY.parent.glob(word)), word


@pytest.mark.parametrize(
    "said",
    [
        f"the newest {KEEP:,}",
        f"for the {LIVES:,} used last",
        f"for {KEPT[COARSE] // 86_400} days or two million",
        f"`timeouts.idle` ({Settings().timeouts.idle / 60:g} m)",
        f"each of {Settings().limits.connections:,} may hold a MiB",
    ],
)
def test_the_bounds_that_it_tells_are_the_gateway_s(said: str):
    assert said in PAGE
    assert COUNTS == 2_000_000


def test_the_limit_of_memory_is_the_manifests():
    limit = PODS["connection-gateway"].container("gateway")["resources"]["limits"]["memory"]
    assert f"the limit in the manifests is {limit.replace('Gi', ' GiB')}" in PAGE
    values = yaml.safe_load((DEPLOY / "helm" / "connection-gateway" / "values.yaml").read_text())
    assert values["resources"]["limits"]["memory"] == limit
