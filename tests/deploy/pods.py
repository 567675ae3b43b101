"""Pods as manifests have them: what they mount, what they refer to, and whether they fit the restricted standard.

The standard is Kubernetes' own, https://kubernetes.io/docs/concepts/security/pod-security-standards/, and what else we
hold ourselves to: no token of the cluster's API, no writable root filesystem, bounded memory.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_TEMPLATES = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Job": ("spec", "template"),
}
_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


@dataclass(frozen=True)
class Pod:
    """One pod template, by the name of what makes it."""

    name: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def containers(self) -> list[Mapping[str, Any]]:
        """All of them, sidecars included."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    def container(self, name: str) -> Mapping[str, Any]:
        """Return the container of this name."""
        (found,) = [one for one in self.containers if one["name"] == name]
        return found

    def mounted(self, container: Mapping[str, Any]) -> set[str]:
        """Return the paths at which something is mounted, a Secret's items each by itself."""
        volumes = {volume["name"]: volume for volume in self.spec["volumes"]}
        paths = set()
        for mount in container["volumeMounts"]:
            items = volumes[mount["name"]].get("secret", {}).get("items", ())
            paths |= {mount["mountPath"], *(f"{mount['mountPath']}/{item['path']}" for item in items)}
        return paths

    def files(self, container: Mapping[str, Any], documents: Iterable[Mapping[str, Any]]) -> dict[str, str]:
        """Return the files of the ConfigMaps that are mounted and are among the documents, by path."""
        maps = {one["metadata"]["name"]: one for one in documents if one["kind"] == "ConfigMap"}
        volumes = {volume["name"]: volume for volume in self.spec["volumes"]}
        found = {}
        for mount in container["volumeMounts"]:
            config = maps.get(volumes[mount["name"]].get("configMap", {}).get("name"), {})
            for name, text in (config.get("data") or {}).items():
                found[f"{mount['mountPath']}/{name}"] = text
        return found


def pods(documents: Iterable[Mapping[str, Any]]) -> Iterator[Pod]:
    """Yield the pod of each document that makes one."""
    for document in documents:
        if path := _TEMPLATES.get(document["kind"]):
            template: Any = document
            for key in path:
                template = template[key]
            labels = template.get("metadata", {}).get("labels", {})
            yield Pod(document["metadata"]["name"], labels, template["spec"])


def faults(pod: Pod) -> list[str]:
    """Return what of it doesn't fit, each in a few words."""
    found = []
    if pod.spec.get("automountServiceAccountToken") is not False:
        found.append("has a token of the cluster's API")
    found += [
        f"{key} is on" for key in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace") if pod.spec.get(key)
    ]
    for volume in pod.spec.get("volumes", ()):
        found += [f"volume {kind}" for kind in volume.keys() - {"name"} - _VOLUMES]
    for container in pod.containers:
        found += [f"{container['name']}: {fault}" for fault in _faults(container, pod.spec.get("securityContext", {}))]
    return found


def _faults(container: Mapping[str, Any], of_pod: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    both = {**of_pod, **own}
    if own.get("privileged"):
        yield "privileged"
    if both.get("runAsNonRoot") is not True or not both.get("runAsUser"):
        yield "may run as root"
    if both.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "no seccomp profile"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if own.get("capabilities", {}) != {"drop": ["ALL"]}:
        yield "keeps capabilities"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "may write to its root filesystem"
    resources = container.get("resources", {})
    if not {"cpu", "memory"} <= resources.get("requests", {}).keys() or "memory" not in resources.get("limits", {}):
        yield "isn't bounded"
    if ":" not in container["image"] or container["image"].endswith(":latest"):
        yield "an image of no version"


def references(document: Any) -> Iterator[tuple[str, str]]:
    """Yield the kind and the name of each Secret, ConfigMap, Service and ServiceAccount that is referred to."""
    match document:
        case {"secretName": str(name)}:
            yield "Secret", name
        case {"secretKeyRef": {"name": str(name)}}:
            yield "Secret", name
        case {"configMap": {"name": str(name)}}:
            yield "ConfigMap", name
        case {"service": {"name": str(name)}} | {"serviceName": str(name)}:
            yield "Service", name
        case {"serviceAccountName": str(name)}:
            yield "ServiceAccount", name
    below = document.values() if isinstance(document, Mapping) else document if isinstance(document, list) else ()
    for one in below:
        yield from references(one)


def selects(document: Mapping[str, Any], among: Iterable[Pod]) -> list[str]:
    """Return the names of the pods that a document's own selector finds, and of a Service whose ports they have."""
    spec = document.get("spec", {})
    selector = spec.get("podSelector") or spec.get("selector") or {}
    labels = selector.get("matchLabels", selector)
    if not labels:
        return []
    found = [pod for pod in among if labels.items() <= pod.labels.items()]
    if document["kind"] == "Service":
        wanted = {port["targetPort"] for port in spec["ports"]}
        found = [
            pod
            for pod in found
            if wanted <= {port["name"] for container in pod.containers for port in container.get("ports", ())}
        ]
    return [pod.name for pod in found]
