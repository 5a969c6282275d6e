"""The Kubernetes manifests, as far as can be told without a cluster."""

import functools
import gzip
import json
import math
import re
import shutil
import subprocess
import venv
from collections import Counter
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import ray
import yaml
from ray._private import ray_constants, services
from ray._private import utils as ray_utils
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _get_ray_resources_from_group_spec,
)
from ray.autoscaler._private.kuberay.utils import parse_quantity

from tests.support.programs import kustomize
from tuner.service import metrics
from tuner.storage.database import Database
from tuner.storage.studies import StudyStore

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
README = (ROOT / "deploy" / "README.md").read_text()
KUBERNETES = ROOT / "deploy" / "kubernetes"
KUBERAY = Path(__file__).with_name("ray.io_rayclusters.yaml.gz")  # KubeRay's, Apache 2.0
OLDEST_KUBERAY = "1.6"
SINCE = (  # fields of that file that KubeRay 1.6 did not have, by its API reference of 1.6.2
    *("networkPolicy", "historyServerOptions", "tlsOptions", "headGroupSpec.ingressOptions"),
    *("autoscalerOptions.args", "autoscalerOptions.command", "workerGroupSpecs.priority"),
    *("gcsFaultToleranceOptions.backend", "gcsFaultToleranceOptions.storage"),
)
VERSIONS = ("1.32", "1.37")
OVERLAYS = ("dev", "gpu")
MONITORING = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
DRIVER_BYTES = 0.9 * 2**30  # of a driver at its peak, as deploy/README.md says
RAYS_BYTES = 1.0 * 2**30  # of Ray's own processes on a node


def built(folder):
    told = subprocess.run([*kustomize(), "build", folder], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    return list(yaml.safe_load_all(told.stdout))


@functools.cache
def build(overlay):
    return built(KUBERNETES / "overlays" / overlay)


@pytest.fixture(scope="module")
def monitored(tmp_path_factory):
    """What the overlay that deploy/README.md shows makes: GPUs and monitoring."""
    (words,) = re.findall("```yaml\n(.*?)```", README, re.DOTALL)
    copy = shutil.copytree(KUBERNETES, tmp_path_factory.mktemp("deploy") / "kubernetes")
    folder = copy / "overlays" / "own"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(words)
    return built(folder)


def of_kind(overlay, *kinds):
    return [each for each in build(overlay) if each["kind"] in kinds]


def pods(overlay):
    """(name, labels, spec) of every pod that comes to be."""
    for each in of_kind(overlay, "Deployment", "StatefulSet"):
        template = each["spec"]["template"]
        yield each["metadata"]["name"], template["metadata"]["labels"], template["spec"]
    for name, group in ray_groups(overlay).items():
        template = group["template"]
        yield f"ray {name}", template["metadata"]["labels"], template["spec"]


def ray_groups(overlay):
    (cluster,) = of_kind(overlay, "RayCluster")
    head, workers = cluster["spec"]["headGroupSpec"], cluster["spec"]["workerGroupSpecs"]
    return {"head": head} | {group["groupName"]: group for group in workers}


def memory(group):
    """(Bytes that a pod of Ray may take, bytes of its /dev/shm)."""
    spec = group["template"]["spec"]
    (shm,) = [v["emptyDir"]["sizeLimit"] for v in spec["volumes"] if v["name"] == "shm"]
    return tuple(
        int(parse_quantity(words))
        for words in (spec["containers"][0]["resources"]["limits"]["memory"], shm)
    )


def service_settings(overlay):
    """The configuration map of the service."""
    return next(
        each["data"]
        for each in of_kind(overlay, "ConfigMap")
        if each["metadata"]["name"].startswith("tuner-settings")
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(overlay, version):
    for each in build(overlay):
        if each["kind"] != "RayCluster":
            kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_oldest_kuberay_knows_every_field(overlay):
    assert f"kubernetes/index.html) {OLDEST_KUBERAY} or newer" in " ".join(README.split())
    (cluster,) = of_kind(overlay, "RayCluster")
    cluster_spec().validate(cluster["spec"])
    for field in ("planted", "tlsOptions"):
        with pytest.raises(jsonschema.ValidationError, match=field):
            cluster_spec().validate(cluster["spec"] | {field: {}})


@functools.cache
def cluster_spec():
    """The schema of a RayCluster's spec as the oldest KubeRay has it."""
    definition = yaml.load(gzip.decompress(KUBERAY.read_bytes()), yaml.CSafeLoader)
    schema = next(v for v in definition["spec"]["versions"] if v["name"] == "v1")["schema"]
    spec = schema["openAPIV3Schema"]["properties"]["spec"]
    for path in SINCE:
        *parents, name = path.split(".")
        part = spec
        for parent in parents:
            part = part["properties"][parent]
            part = part.get("items", part)
        del part["properties"][name]
    return jsonschema.Draft202012Validator(closed(spec))


def closed(schema):
    """A schema that refuses fields it does not name, as an API server drops them."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(each) for name, each in schema.items()}
    if "properties" in made and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_pinned_bounded_probed_and_have_no_rights(overlay):
    for name, _, spec in pods(overlay):
        rights = spec["securityContext"]
        assert rights["runAsNonRoot"], name
        assert rights["seccompProfile"] == {"type": "RuntimeDefault"}, name
        if name != "ray head":  # KubeRay's autoscaler needs it there
            assert spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            assert re.search(r":[\w.-]*\d", container["image"]), container["image"]
            assert set(container["resources"]["limits"]) >= {"cpu", "memory"}, name
            assert set(container["resources"]["requests"]) >= {"cpu", "memory"}, name
            assert container["livenessProbe"], name
            assert container["readinessProbe"], name
            inner = container["securityContext"]
            assert inner["capabilities"] == {"drop": ["ALL"]}, name
            assert inner["readOnlyRootFilesystem"], name
            assert inner["allowPrivilegeEscalation"] is False, name
            volumes = {volume["name"] for volume in spec.get("volumes", [])} | {"data"}
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_referred_to_is_there(overlay):
    text = json.dumps(build(overlay))
    made = set(re.findall(r">\"?secrets/([\w.]+)", (ROOT / "deploy" / "secrets.sh").read_text()))
    made |= {"tuner_database_url", "mlflow_database_url"}
    keys = set(re.findall(r'"key": "(\w+)", "name": "tuner-secrets"', text))
    mounted = set(re.findall(r'"name": "secrets", "readOnly": true, "subPath": "([\w.]+)"', text))
    assert mounted >= {"tuner_database_url", "mlflow_auth.ini", "mlflow_credentials"}
    assert keys | mounted <= made
    maps = {each["metadata"]["name"] for each in of_kind(overlay, "ConfigMap")}
    wanted = set(re.findall(r'"configMapRef": \{"name": "([\w-]+)"\}', text))
    assert wanted
    assert wanted <= maps
    labels = [labels for _, labels, _ in pods(overlay)]
    for each in of_kind(overlay, "Service"):
        selector = each["spec"]["selector"].items()
        assert any(selector <= found.items() for found in labels), each["metadata"]["name"]
    for each in of_kind(overlay, "PodDisruptionBudget"):
        selector = each["spec"]["selector"]["matchLabels"].items()
        assert any(selector <= found.items() for found in labels), each["metadata"]["name"]
    for each in of_kind(overlay, "NetworkPolicy"):
        for values in re.findall(r'"values": \[([^]]*)\]', json.dumps(each)):
            for app in re.findall(r"[\w-]+", values):
                assert {"app": app} in labels, each["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_calls_a_pod_finds_its_ports(overlay):
    names = {}  # of the ports of each app
    for name, labels, spec in pods(overlay):
        for container in spec["containers"]:
            ports = {port["name"] for port in container.get("ports", [])}
            names.setdefault(labels["app"], set()).update(ports)
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                for way in container.get(probe, {}).values():
                    port = way.get("port") if isinstance(way, dict) else None
                    assert port is None or port in ports, (name, probe)
    for each in of_kind(overlay, "Service"):
        for port in each["spec"]["ports"]:
            assert port["targetPort"] in names[each["spec"]["selector"]["app"]]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_who_is_named_may_call_and_what_has_replicas_is_not_drained_at_once(overlay):
    closed_to_all, *policies = sorted(
        (each["spec"] for each in of_kind(overlay, "NetworkPolicy")),
        key=lambda spec: bool(spec["podSelector"]),
    )
    assert closed_to_all == {"podSelector": {}, "policyTypes": ["Ingress"]}
    opened = json.dumps([spec["podSelector"] for spec in policies])
    for name, labels, _ in pods(overlay):
        assert f'"{labels["app"]}"' in opened, name
    budgets = [b["spec"]["selector"] for b in of_kind(overlay, "PodDisruptionBudget")]
    for each in of_kind(overlay, "Deployment", "StatefulSet"):
        assert each["spec"]["replicas"] == 1 or each["spec"]["selector"] in budgets


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_rays_objects_lie_in_shared_memory(overlay, monkeypatch, tmp_path):
    """By Ray's own rule, which falls back to a disk without more than a warning."""
    for name, group in ray_groups(overlay).items():
        limit, shm = memory(group)
        monkeypatch.setattr(ray_utils, "get_shared_memory_bytes", lambda shm=shm: shm)
        size = ray_utils.resolve_object_store_memory(limit)
        share = ray_constants.DEFAULT_OBJECT_STORE_MEMORY_PROPORTION
        assert size >= min(share * limit, ray_constants.REQUIRE_SHM_SIZE_THRESHOLD) - 1, name
        monkeypatch.setattr("ray._common.utils.get_system_memory", lambda limit=limit: limit)
        place, _, _ = services.determine_plasma_store_config(size, str(tmp_path))
        assert place == "/dev/shm", name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_there_is_memory_for_all_drivers_that_may_be(overlay):
    settings, groups = service_settings(overlay), ray_groups(overlay)
    (api,) = [d for d in of_kind(overlay, "Deployment") if d["metadata"]["name"] == "tuner-api"]
    drivers = api["spec"]["replicas"] * 2 * int(settings["TUNER_SLOTS"])  # half of them wait
    resource = settings["TUNER_DRIVER_RESOURCE"]
    host = groups["drivers" if resource else "head"]
    offered = _get_ray_resources_from_group_spec(host, is_head=not resource)
    each = offered[resource] if resource else drivers
    limit, shm = memory(host)
    assert limit >= RAYS_BYTES + each * DRIVER_BYTES + min(shm, 0.3 * limit)
    assert offered["CPU"] == 0  # no trial comes there
    if resource:
        assert host["minReplicas"] >= 1  # a first study does not wait for a machine
        assert host["maxReplicas"] == math.ceil(drivers / each)
        others = [group for group in groups.values() if group is not host]
        assert not any("resources" in group["rayStartParams"] for group in others)
    head = groups["head"]
    assert _get_ray_resources_from_group_spec(head, is_head=True)["CPU"] == 0


def test_the_image_is_named_once(tmp_path):
    """Its name and tag of your own are the base's; workers with GPUs add `-cuda`."""
    copy = shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    kustomization = copy / "base" / "kustomization.yaml"
    words = kustomization.read_text()
    assert words.count('newTag: "0.1.0"') == 1
    own = 'newName: registry.internal:5000/team/tuner\n    newTag: "9.8.7"'
    kustomization.write_text(words.replace('newTag: "0.1.0"', own))
    images = Counter(
        re.findall(r'"image": "([^"]*tuner[^"]*)"', json.dumps(built(copy / "overlays/gpu")))
    )
    name = "registry.internal:5000/team/tuner:9.8.7"
    assert images == {name: 5, f"{name}-cuda": 1}
    version = re.search('^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert version == "0.1.0"
    for tag, torch in ((version, ""), (f"{version}-cuda", " --build-arg TORCH_INDEX=")):
        command = f"docker build -f deploy/Dockerfile -t REGISTRY/alignment-tuner:{tag}{torch} ."
        assert command in README


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_needs_no_operator_but_kuberay(overlay):
    groups = {each["apiVersion"].partition("/")[0] for each in build(overlay)}
    assert groups == {"v1", "apps", "policy", "networking.k8s.io", "ray.io"}


def metrics_of(expression):
    """The names of metrics that an expression of Prometheus asks for."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\"[^\"]*\"|\b(by|without) \([^)]*\)", "", expression)
    words = set(re.findall(r"[a-zA-Z_:][\w:]*(?!\w*\s*\()", bare))
    return words - {"and", "or", "unless", "by", "without", "offset", "bool"}


def metrics_of_ray():
    """Those that Ray's own dashboards show."""
    folder = Path(ray.__file__).parent / "dashboard" / "modules" / "metrics" / "dashboards"
    return {n for f in folder.glob("*.py") for n in re.findall(r"\bray_\w+", f.read_text())}


def test_metrics_are_found_in_expressions():
    expression = 'sum by (le) (rate(a_total{b="c"}[5m])) / max(d) > 0.2 and absent(up == 1)'
    assert metrics_of(expression) == {"a_total", "d", "up"}


def test_alerts_and_dashboard_use_metrics_that_exist_and_are_explained(tmp_path, monitored):
    metrics.observe("GET", "/", 200, 0.1)
    with Database(f"sqlite:///{tmp_path}/studies.db") as database:
        told, _ = metrics.exposition(StudyStore(database))
    known = set(re.findall(r"^(\w+)", told.decode(), re.MULTILINE)) | metrics_of_ray() | {"up"}
    (rules,) = [each for each in monitored if each["kind"] == "PrometheusRule"]
    alerts = [rule for group in rules["spec"]["groups"] for rule in group["rules"]]
    (text,) = [
        each["data"]["dashboard.json"]
        for each in monitored
        if each["kind"] == "ConfigMap" and "dashboard.json" in each["data"]
    ]
    panels = json.loads(text)["panels"]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    assert shown
    for expression in (*shown, *(alert["expr"] for alert in alerts)):
        used = metrics_of(expression)
        assert used
        assert used <= known
    for alert in alerts:
        assert f"**{alert['alert']}**" in README


def test_prometheus_scrapes_what_is_there(monitored):
    """Services and pods that monitors select, and their ports; alerts name the service's job."""
    assert {each["kind"] for each in monitored} >= set(MONITORING)
    services = {
        name
        for each in of_kind("gpu", "Service")
        for name in each["metadata"].get("labels", {}).values()
    }
    apps = {labels["app"] for _, labels, _ in pods("gpu")}
    for each in monitored:
        spec = each.get("spec", {})
        if each["kind"] == "ServiceMonitor":
            assert spec["selector"]["matchLabels"]["app"] in services
        if each["kind"] == "PodMonitor":
            (expression,) = spec["selector"]["matchExpressions"]
            assert set(expression["values"]) <= apps
        if each["kind"] == "PrometheusRule":
            jobs = set(re.findall(r'job=\\"([\w-]+)', json.dumps(spec)))
            assert jobs <= services


@pytest.fixture(scope="module")
def linter(tmp_path_factory):
    """Checkov in an environment of its own: its dependencies are not ours."""
    folder = tmp_path_factory.mktemp("linter")
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", "checkov==3.3.30"], check=True)
    return folder / "bin"


@pytest.mark.soak
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_security_linter_finds_nothing(overlay, linter, tmp_path):
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(build(overlay)))
    accepted = {
        "CKV_K8S_40": "10001 is high enough for images of ours",
        "CKV_K8S_43": "images are pinned by tag; digests differ by registry",
        "CKV_K8S_35": "Ray and MLflow read keys of the store from the environment alone",
        "CKV_K8S_15": "Always would make a node need the registry to start again",
        "CKV2_K8S_6": "the policy of the namespace is for all pods",
    }
    told = subprocess.run(
        [
            *(linter / "checkov", "--file", tmp_path / "all.yaml", "--framework", "kubernetes"),
            *("--skip-check", ",".join(accepted), "--output", "json", "--quiet"),
        ],
        capture_output=True,
        text=True,
        env={"PATH": f"{linter}:/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    report = json.loads(told.stdout)
    failed = [
        (c["check_id"], c["check_name"], c["resource"]) for c in report["results"]["failed_checks"]
    ]
    assert failed == []
    assert report["summary"]["passed"] > 100
