"""The manifests: right by Kubernetes' schemas, confined, each reference meets what it means, and the settings load."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway.catalog import Catalog
from tests.deploy.containers import DEPLOY, IMAGE, PORTS, RENEWING, ROOT, USER, settings_of
from tests.deploy.pods import Pod, faults, pods, references, selects

HERE = DEPLOY / "kubernetes"
FILES = sorted(HERE.glob("*.yaml"))
DOCUMENTS: dict[str, list[dict[str, Any]]] = {file.stem: list(yaml.safe_load_all(file.read_text())) for file in FILES}
EVERYTHING = [document for documents in DOCUMENTS.values() for document in documents]
PODS: dict[str, Pod] = {pod.name: pod for pod in pods(EVERYTHING)}
MADE_BY_HAND = {
    ("Secret", "connection-gateway"),
    ("Secret", "connection-gateway-tls"),
    ("Secret", "connection-gateway-postgresql"),
    ("Secret", "reports-gateway"),
    ("ConfigMap", "connection-gateway-policies"),
}
OLDEST, NEWEST = "1.29", kubernetes_validate.latest_version()
"""Native sidecars are on from 1.29 on."""


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("document", EVERYTHING, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_it_holds_to_the_schemas_of_kubernetes(document: dict[str, Any], version: str):
    kubernetes_validate.validate(document, version, strict=True)


def test_what_the_schemas_do_not_know_is_refused():
    """The check above can fail."""
    wrong = yaml.safe_load((HERE / "replicas.yaml").read_text().split("---\n")[2].replace("maxSurge", "maxSurges"))
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS.keys())
def test_every_pod_fits_the_restricted_standard_and_is_bounded(pod: Pod):
    assert faults(pod) == []


def test_a_pod_that_does_not_fit_it_is_found():
    """The check above can fail."""
    loose = {"spec": {"containers": [{"name": "a", "image": "b", "securityContext": {"privileged": True}}]}}
    (pod,) = pods([{"kind": "Deployment", "metadata": {"name": "a"}, "spec": {"template": loose}}])
    assert len(faults(pod)) > 5


@pytest.mark.parametrize("place", ["connection-gateway", "reports"])
def test_the_gateway_s_settings_load_and_what_they_name_is_mounted(place: str, monkeypatch, tmp_path):
    pod = PODS[place]
    gateway = pod.container("gateway")
    assert gateway["image"] == IMAGE
    settings = settings_of(variables(gateway), pod.files(gateway, EVERYTHING), monkeypatch, tmp_path)
    mounted = pod.mounted(gateway)
    assert settings.keys.source.removeprefix("file:") in mounted
    assert str(settings.policies_dir) in mounted
    # Root's, for the group that the gateway is in: so it is read, and by nobody else (`store/private_file`).
    (secret,) = [volume["secret"] for volume in pod.spec["volumes"] if "secret" in volume]
    assert (secret["defaultMode"], pod.spec["securityContext"]["fsGroup"]) == (0o440, USER)
    assert settings.store.url.startswith("postgresql://")
    assert settings.log.format == "json"
    grace = pod.spec["terminationGracePeriodSeconds"]
    assert grace >= slept(gateway) + settings.timeouts.shutdown + RENEWING


def test_the_replicas_share_key_and_token_and_write_nothing(monkeypatch, tmp_path):
    pod = PODS["connection-gateway"]
    gateway = pod.container("gateway")
    settings = settings_of(variables(gateway), pod.files(gateway, EVERYTHING), monkeypatch, tmp_path)
    assert f"{settings.data_dir}/admin.token" in pod.mounted(gateway)
    assert {str(settings.proxy.listen), str(settings.web.listen)} == {"0.0.0.0:8080", "0.0.0.0:8081"}
    assert {port["name"]: port["containerPort"] for port in gateway["ports"]} == PORTS


def test_the_sidecar_is_reached_from_its_pod_alone_and_the_workload_gets_no_key(monkeypatch, tmp_path):
    pod = PODS["reports"]
    gateway, workload = pod.container("gateway"), pod.container("reports")
    settings = settings_of(variables(gateway), pod.files(gateway, EVERYTHING), monkeypatch, tmp_path)
    assert {str(settings.proxy.listen), str(settings.web.listen)} == {"127.0.0.1:8080", "127.0.0.1:8081"}
    assert not settings.access.anonymous
    assert gateway["restartPolicy"] == "Always"
    assert gateway in pod.spec["initContainers"]
    assert "volumeMounts" not in workload
    assert workload.get("securityContext", {}).get("runAsUser", pod.spec["securityContext"]["runAsUser"]) != USER
    # A token of its own in a directory that it makes: that of the mount is everybody's.
    writable = {mount["mountPath"] for mount in gateway["volumeMounts"] if not mount.get("readOnly")}
    assert str(settings.data_dir.parent) in writable
    assert str(settings.data_dir) not in writable


def test_every_probe_asks_for_a_route_that_exists_and_a_database_that_is_away_takes_no_replica_out():
    routes = set(re.findall(r'add_get\("([^"]+)"', (ROOT / "gateway" / "web" / "site.py").read_text()))
    gateway = PODS["connection-gateway"].container("gateway")
    asked = {name: gateway[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
    assert {name: one["path"] for name, one in asked.items()} == {
        "startup": "/readyz",
        "readiness": "/healthz",
        "liveness": "/healthz",
    }
    assert {one["port"] for one in asked.values()} == {"web"}
    code = PODS["reports"].container("gateway")["startupProbe"]["exec"]["command"][2]
    compile(code, "startupProbe", "exec")
    path = re.search(r"request\('GET', '([^']+)'\)", code)
    assert path is not None
    assert {path[1], *(one["path"] for one in asked.values())} <= routes


def test_whatever_is_referred_to_is_here_or_is_said_to_be_made():
    here = {(document["kind"], document["metadata"]["name"]) for document in EVERYTHING}
    wanted = {one for document in EVERYTHING for one in references(document)}
    assert wanted - here == MADE_BY_HAND
    operations = (DEPLOY.parent / "docs" / "operations.md").read_text()
    for kind, name in MADE_BY_HAND:
        assert re.search(rf"create {kind.lower()} [a-z ]*{name}\b", operations + (HERE / "sidecar.yaml").read_text()), (
            name
        )


def test_whatever_selects_pods_finds_them():
    chosen = {(one["kind"], one["metadata"]["name"]): selects(one, PODS.values()) for one in EVERYTHING}
    assert {name: found for name, found in chosen.items() if found} == {
        ("Deployment", "connection-gateway"): ["connection-gateway"],
        ("StatefulSet", "connection-gateway-postgresql"): ["connection-gateway-postgresql"],
        ("Service", "connection-gateway-proxy"): ["connection-gateway"],
        ("Service", "connection-gateway-web"): ["connection-gateway"],
        ("Service", "connection-gateway-postgresql"): ["connection-gateway-postgresql"],
        ("PodDisruptionBudget", "connection-gateway"): ["connection-gateway"],
        ("NetworkPolicy", "connection-gateway"): ["connection-gateway"],
        ("NetworkPolicy", "connection-gateway-postgresql"): ["connection-gateway-postgresql"],
    }


def test_the_database_is_reached_by_gateways_alone():
    (policy,) = [one for one in DOCUMENTS["postgresql"] if one["kind"] == "NetworkPolicy"]
    (rule,) = policy["spec"]["ingress"]
    let_in = [peer["podSelector"]["matchLabels"] for peer in rule["from"]]
    assert [pod.name for pod in PODS.values() if any(labels.items() <= pod.labels.items() for labels in let_in)] == [
        "connection-gateway",
        "reports",
    ]


def test_a_config_map_that_changes_is_taken_up(tmp_path: Path):
    """The node's agent exchanges a link to a directory, and the files are links through it."""
    text = 'name = "A"\n[allow]\nurls = ["https://{host}"]\n[auth]\ngrant = "none"\n'
    for version, host in (("..1", "a.example.com"), ("..2", "b.example.com")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.toml").write_text(text.format(host=host))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.toml").symlink_to("..data/a.toml")
    catalog = Catalog(tmp_path)
    assert catalog.load() == ("a",)
    (tmp_path / "..next").symlink_to("..2")
    (tmp_path / "..next").rename(tmp_path / "..data")
    assert catalog.load() == ("a",)
    assert not catalog.findings
    assert "b.example.com" in str(catalog.policies["a"].allow)


def variables(container: Mapping[str, Any]) -> dict[str, str]:
    """The container's variables; those of Secrets are what the Secret has to have."""
    secret = {"store.url": "postgresql://gateway:password@database/gateway"}
    return {
        one["name"]: one["value"] if "value" in one else secret[one["valueFrom"]["secretKeyRef"]["key"]]
        for one in container["env"]
    }


def slept(container: Mapping[str, Any]) -> float:
    """Seconds that preStop takes."""
    command = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
    assert command[0] == "sleep"
    return float(command[1])
