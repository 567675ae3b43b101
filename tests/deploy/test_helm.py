"""The chart: helm takes it, what it makes is right by Kubernetes' schemas, and is what the plain manifests say."""

import json
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

import gateway
from tests.deploy.containers import DEPLOY, found_tool, settings_of, tool
from tests.deploy.pods import faults, pods, references, selects
from tests.deploy.test_kubernetes import DOCUMENTS, NEWEST, OLDEST, PODS, variables

CHART = DEPLOY / "helm" / "connection-gateway"
LIBRARY = DEPLOY / "helm" / "connection-gateway-sidecar"
URL = "https://gateway.example.com"
EVERYTHING_ON = """
publicUrl: https://pages.example.org
existingSecret: of-mine
policies: { crm.toml: "name = \\"C: \\"\\n" }
config: "[limits]\\nconnections = 5000\\n"
extraEnv: [{ name: CRM_SECRET, valueFrom: { secretKeyRef: { name: crm, key: secret } } }]
image: { repository: registry.example.org/gateway, tag: "1.2.3", pullPolicy: Always }
imagePullSecrets: [{ name: registry }]
replicas: 5
nodeSelector: { kubernetes.io/arch: amd64 }
tolerations: [{ key: dedicated, operator: Exists }]
affinity: { nodeAffinity: {} }
podDisruptionBudget: { maxUnavailable: 40% }
ingress: { className: nginx, annotations: { cert-manager.io/issuer: letsencrypt }, tlsSecret: of-mine-tls }
networkPolicy:
  callers: [{ podSelector: { matchLabels: { may: call } } }]
  webNamespaces: []
  database: [{ ipBlock: { cidr: 10.1.2.3/32 } }]
  allowNetworks: [10.20.0.0/16]
postgresql: { enabled: true, storage: 20Gi }
"""


def made(release: str, values: str, chart: Path = CHART) -> list[dict[str, Any]]:
    """Return what the chart makes of these values; raises `AssertionError` with what helm says."""
    said = subprocess.run(
        [tool("helm"), "template", release, chart, "--values", "-", "--kube-version", OLDEST],
        input=values,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    return [one for one in yaml.safe_load_all(said.stdout) if one]


def by_name(documents: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["kind"], one["metadata"]["name"]): one for one in documents}


def test_helm_finds_nothing_wrong_with_it():
    said = subprocess.run(
        [tool("helm"), "lint", "--strict", CHART, "--set", f"publicUrl={URL}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize("values", [f"publicUrl: {URL}", EVERYTHING_ON], ids=["defaults", "everything"])
def test_what_it_makes_holds_to_the_schemas_and_the_restricted_standard(values: str):
    documents = made("connection-gateway", values)
    for one in documents:
        kubernetes_validate.validate(one, NEWEST, strict=True)
    assert [fault for pod in pods(documents) for fault in faults(pod)] == []


def test_its_defaults_make_what_the_plain_manifests_say():
    """Whoever changes one changes the other. What is helm's own, labels that name a release, is left out."""
    chart = by_name(made("connection-gateway", f"publicUrl: {URL}\npostgresql: {{ enabled: true }}"))
    plain = by_name([*DOCUMENTS["replicas"], *DOCUMENTS["postgresql"]])
    assert chart.keys() - plain.keys() == {("ConfigMap", "connection-gateway-policies")}
    assert plain.keys() <= chart.keys()
    for name, document in plain.items():
        assert without_labels(chart[name]) == without_labels(document), name


def without_labels(document: Any) -> Any:
    """Leave out what tells one release from another: labels, what selects by them, and what they are summed up by."""
    if isinstance(document, Mapping):
        kept = {key: without_labels(value) for key, value in document.items() if key != "labels"}
        for selector in ("matchLabels", "selector"):
            if isinstance(kept.get(selector), Mapping):
                kept[selector] = {k: v for k, v in kept[selector].items() if k != "app.kubernetes.io/instance"}
        kept.pop("checksum/config", None)
        if "config.toml" in kept:
            kept["config.toml"] = tomllib.loads(kept["config.toml"])
        return kept
    return [without_labels(one) for one in document] if isinstance(document, list) else document


def test_every_reference_and_selector_of_a_release_under_another_name_meets_its_own():
    documents = made("team-a", f"publicUrl: {URL}\npostgresql: {{ enabled: true }}")
    here = {(one["kind"], one["metadata"]["name"]) for one in documents}
    wanted = {one for document in documents for one in references(document)}
    assert wanted - here == {
        ("Secret", "team-a-connection-gateway"),
        ("Secret", "team-a-connection-gateway-tls"),
        ("Secret", "team-a-connection-gateway-postgresql"),
    }
    other = list(pods(made("team-b", f"publicUrl: {URL}")))
    own = list(pods(documents))
    for one in documents:
        if one["kind"] in {"Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment", "StatefulSet"}:
            assert len(selects(one, own)) == 1, one["metadata"]["name"]
            assert selects(one, other) == [], one["metadata"]["name"]


def test_every_value_arrives(monkeypatch, tmp_path):
    documents = by_name(made("connection-gateway", EVERYTHING_ON))
    (pod,) = [pod for pod in pods(list(documents.values())) if pod.name == "connection-gateway"]
    container = pod.container("gateway")
    of_crm = container["env"].pop()
    settings = settings_of(variables(container), pod.files(container, documents.values()), monkeypatch, tmp_path)
    assert settings.web.public_url == "https://pages.example.org"
    assert settings.limits.connections == 5000
    assert of_crm["valueFrom"]["secretKeyRef"] == {"name": "crm", "key": "secret"}
    assert container["image"] == "registry.example.org/gateway:1.2.3"
    assert documents["ConfigMap", "connection-gateway-policies"]["data"] == {"crm.toml": 'name = "C: "\n'}
    assert documents["Deployment", "connection-gateway"]["spec"]["replicas"] == 5
    ingress = documents["Ingress", "connection-gateway"]["spec"]
    assert ingress["tls"] == [{"hosts": ["pages.example.org"], "secretName": "of-mine-tls"}]
    network = documents["NetworkPolicy", "connection-gateway"]["spec"]
    assert [rule["from"] for rule in network["ingress"]] == [[{"podSelector": {"matchLabels": {"may": "call"}}}]]
    assert network["egress"][1]["to"] == [{"ipBlock": {"cidr": "10.1.2.3/32"}}]
    assert network["egress"][3]["to"] == [{"ipBlock": {"cidr": "10.20.0.0/16"}}]
    assert ("Secret", "of-mine") in set(references(documents["Deployment", "connection-gateway"]))


def test_a_policy_that_is_given_as_a_file_arrives():
    """As the notes say, through a shell, and with every character that a policy may have."""
    file = DEPLOY.parent / "policies" / "github.toml"
    command = f"{tool('helm')} template a {CHART} --kube-version {OLDEST} --set publicUrl={URL}"
    command += f" --set-file policies.github\\\\.toml={file}"
    said = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    data = [one.get("data") for one in yaml.safe_load_all(said.stdout) if one["kind"] == "ConfigMap"]
    assert {"github.toml": file.read_text()} in data


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("{}", "publicUrl"),
        ("publicUrl: gateway.example.com", "publicUrl"),
        (f"publicUrl: {URL}/path", "publicUrl"),
        (f"publicUrl: {URL}\nreplica: 2", "replica"),
        (f"publicUrl: {URL}\nreplicas: 0", "replicas"),
        (f"publicUrl: {URL}\npolicies: {{ Crm.toml: a }}", "Crm.toml"),
        (f"publicUrl: {URL}\nnetworkPolicy: {{ allowNetworks: [10.0.0.1] }}", "allowNetworks"),
        (f"publicUrl: {URL}\nmasterKey: hush", "masterKey"),
    ],
)
def test_values_that_mean_nothing_are_refused(values: str, said: str):
    """By the schema itself, which helm goes by; a secret has no place among them."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    given = merged(yaml.safe_load((CHART / "values.yaml").read_text()), yaml.safe_load(values))
    with pytest.raises(jsonschema.ValidationError) as raised:
        jsonschema.validate(given, schema)
    assert said in raised.value.json_path + raised.value.message
    if found_tool("helm"):
        with pytest.raises(AssertionError, match=said):
            made("connection-gateway", values)


def test_the_schema_has_every_value_and_takes_the_defaults():
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    jsonschema.validate(merged(values, {"publicUrl": URL}), schema)
    jsonschema.validate(merged(values, yaml.safe_load(EVERYTHING_ON)), schema)
    assert schema["properties"].keys() - {"global"} == values.keys()
    for name in ("image", "ingress", "networkPolicy", "postgresql", "podDisruptionBudget"):
        assert schema["properties"][name]["properties"].keys() == values[name].keys()


@pytest.mark.parametrize(("chart", "kind"), [(CHART, "application"), (LIBRARY, "library")])
def test_its_version_is_the_gateway_s(chart: Path, kind: str):
    said = yaml.safe_load((chart / "Chart.yaml").read_text())
    assert (said["version"], said["appVersion"]) == (gateway.__version__, gateway.__version__)
    assert (said["apiVersion"], said["type"], said["name"]) == ("v2", kind, chart.name)


def test_another_chart_takes_the_sidecar_which_is_the_plain_manifest_s(tmp_path: Path):
    workload = tmp_path / "workload"
    shutil.copytree(LIBRARY, workload / "charts" / LIBRARY.name)
    (workload / "Chart.yaml").write_text(
        "apiVersion: v2\nname: workload\nversion: 1.0.0\n"
        f"dependencies: [{{ name: {LIBRARY.name}, version: {gateway.__version__} }}]\n"
    )
    (workload / "templates").mkdir()
    image = f"connection-gateway:{gateway.__version__}"
    (workload / "templates" / "pod.yaml").write_text(
        f'{{{{- $it := dict "gateway" "connection-gateway" "publicUrl" "{URL}" "image" "{image}" }}}}\n'
        'initContainers: {{- include "connection-gateway.sidecar" $it | nindent 2 }}\n'
        'volumes: {{- include "connection-gateway.sidecarVolumes" $it | nindent 2 }}\n'
        "kind: Pod\n"
    )
    (pod,) = made("workload", "{}", workload)
    plain = PODS["reports"].spec
    assert pod["initContainers"] == plain["initContainers"]
    assert pod["volumes"] == plain["volumes"]


def merged(values: Any, given: Any) -> Any:
    """Lay what is given over the chart's values, as helm does."""
    if isinstance(values, dict) and isinstance(given, dict):
        return values | {key: merged(values.get(key), value) for key, value in given.items()}
    return given
