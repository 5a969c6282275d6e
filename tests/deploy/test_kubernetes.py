"""The Kubernetes manifests, as far as can be told without a cluster."""

import functools
import gzip
import json
import re
import subprocess
import venv
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.support.programs import kustomize
from tuner.service import metrics
from tuner.storage.database import Database
from tuner.storage.studies import StudyStore

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
KUBERAY = Path(__file__).with_name("ray.io_rayclusters.yaml.gz")  # KubeRay's, Apache 2.0
VERSIONS = ("1.32", "1.37")
OVERLAYS = ("dev", "gpu")
CUSTOM = ("RayCluster", "ServiceMonitor", "PodMonitor", "PrometheusRule")


@functools.cache
def build(overlay):
    told = subprocess.run(
        [*kustomize(), "build", KUBERNETES / "overlays" / overlay], capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    return list(yaml.safe_load_all(told.stdout))


def of_kind(overlay, *kinds):
    return [each for each in build(overlay) if each["kind"] in kinds]


def pods(overlay):
    """(name, labels, spec) of every pod that comes to be."""
    for each in of_kind(overlay, "Deployment", "StatefulSet"):
        template = each["spec"]["template"]
        yield each["metadata"]["name"], template["metadata"]["labels"], template["spec"]
    (ray,) = of_kind(overlay, "RayCluster")
    groups = [ray["spec"]["headGroupSpec"], *ray["spec"]["workerGroupSpecs"]]
    for group in groups:
        template = group["template"]
        name = group.get("groupName", "head")
        yield f"ray {name}", template["metadata"]["labels"], template["spec"]


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(overlay, version):
    for each in build(overlay):
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kuberay_knows_every_field(overlay):
    (ray,) = of_kind(overlay, "RayCluster")
    cluster_spec().validate(ray["spec"])
    with pytest.raises(jsonschema.ValidationError, match="planted"):
        cluster_spec().validate(ray["spec"] | {"planted": 1})


@functools.cache
def cluster_spec():
    definition = yaml.load(gzip.decompress(KUBERAY.read_bytes()), yaml.CSafeLoader)
    schema = next(v for v in definition["spec"]["versions"] if v["name"] == "v1")["schema"]
    return jsonschema.Draft202012Validator(closed(schema["openAPIV3Schema"]["properties"]["spec"]))


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


def test_alerts_and_dashboard_use_metrics_that_exist_and_are_explained(tmp_path):
    metrics.observe("GET", "/", 200, 0.1)
    with Database(f"sqlite:///{tmp_path}/studies.db") as database:
        told, _ = metrics.exposition(StudyStore(database))
    known = set(re.findall(r"^(tuner_\w+)", told.decode(), re.MULTILINE))
    (rules,) = of_kind("gpu", "PrometheusRule")
    alerts = [rule for group in rules["spec"]["groups"] for rule in group["rules"]]
    dashboard = (KUBERNETES / "components" / "monitoring" / "dashboard.json").read_text()
    readme = (ROOT / "deploy" / "README.md").read_text()
    used = set(re.findall(r"\btuner_\w+", json.dumps(alerts) + dashboard))
    assert used
    assert used <= known
    assert json.loads(dashboard)["panels"]
    for alert in alerts:
        assert f"**{alert['alert']}**" in readme


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
