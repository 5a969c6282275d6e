"""What `deploy/kubernetes` describes, as processes on this machine instead of containers.

Commands, environments and secrets are those of the manifests and of `deploy/secrets.sh`. What a
cluster does is done here: names of services become addresses, a file that is mounted is copied or,
where the program finds it by its folder, told by the environment, and what ends is started again.
PostgreSQL and the S3-compatible store, which the base expects to be there, are stand-ins.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import boto3
import psycopg
import requests
import yaml
from werkzeug.security import generate_password_hash

from tests.conftest import postgres, sqlalchemy_url, start_postgres, stop_postgres
from tests.support.nodes import Node
from tests.support.programs import redis_server
from tests.support.servers import free_port, until

DEPLOY = Path(__file__).parents[2] / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
_BIN = Path(sys.executable).parent
_OBJECTS = 100 * 2**20  # bytes of a node's object store: this machine has many nodes
_FROZEN = 5.0  # seconds
_STARTS = 400.0  # seconds, on a busy machine


def _manifests(name):
    return list(yaml.safe_load_all((BASE / name).read_text()))


class Deployment:
    """The processes of the base.

    Attributes:
        database_url: Of the studies.
        urls: Of the services, as many as there are replicas.
        pieces: What can be restarted, by name: all but Redis, without which the head knows nothing.
            All nodes have one address here, so that drivers take the head's raylet for that of
            their node, and end with the head at once. On nodes with addresses of their own
            `tests/tuner/service/test_nodes.py` kills it.
    """

    def __init__(self, folder, stack):
        self._folder, self._stack = folder, stack
        self._secrets = self._made_secrets()
        self._ports = {name: free_port() for name in ("mlflow", "s3", "head", "dashboard", "redis")}
        self._temporary = Path(tempfile.mkdtemp(prefix="tuner-d-", dir="/tmp"))
        stack.callback(shutil.rmtree, self._temporary, ignore_errors=True)
        self._postgres = stack.enter_context(postgres())
        for name in ("tuner", "mlflow"):
            self._postgres.psql(f"CREATE DATABASE {name}")
        self.database_url = sqlalchemy_url(self._postgres, "tuner")
        self._restarts = {}
        self.urls = []
        self._nodes = {}
        (kustomization,) = _manifests("kustomization.yaml")
        (settings,) = kustomization["configMapGenerator"]
        self._settings = dict(each.split("=", 1) for each in settings["literals"])
        self._restarts["postgres"] = self._restart_postgres
        self._start_s3()
        self._start_redis()
        self._start_mlflow()
        self._start_ray()

    @property
    def pieces(self):
        return list(self._restarts)

    def restart(self, piece):
        """Have a piece gone at once, and back."""
        self._restarts[piece]()

    def start_services(self, **changes):
        """Start the replicas of the service; those before have to be stopped.

        Args:
            changes: Settings that are others.
        """
        deployment = _manifests("api.yaml")[0]["spec"]
        container = deployment["template"]["spec"]["containers"][0]
        for number in range(deployment["replicas"]):
            name, port = f"api-{number}", free_port()
            command = [str(_BIN / "tuner"), *container["args"][1:]]
            command[command.index("8080")] = str(port)
            environment = self._environment(container, name) | changes
            node = self._piece(name, command, environment)
            url = f"http://127.0.0.1:{port}"
            ready = partial(_answers, f"{url}/health/ready")
            self._restarts[name] = partial(self._restart, node, ready)
            until(ready, _STARTS)
            self.urls.append(url)

    def stop_services(self):
        for name in [name for name in self._nodes if name.startswith("api-")]:
            self._nodes.pop(name).kill()
            del self._restarts[name]
        self.urls.clear()

    def stored(self):
        """Keys of what lies in the object store."""
        found = self._s3().list_objects_v2(Bucket="alignment-tuner").get("Contents", [])
        return [each["Key"] for each in found]

    def registered(self):
        """Names of MLflow's models, as the service's user of MLflow sees them."""
        user, password = (
            re.search(f"{name} = (.*)", self._secret("mlflow_auth.ini"))[1]
            for name in ("admin_username", "admin_password")
        )
        url = f"{self._mlflow}/api/2.0/mlflow/registered-models/search"
        assert requests.get(url, timeout=60).status_code == 401  # it is closed to others
        answer = requests.get(url, auth=(user, password), timeout=60)
        return {model["name"] for model in answer.json()["registered_models"]}

    def _made_secrets(self):
        script = self._folder / "secrets.sh"
        script.write_text((DEPLOY / "secrets.sh").read_text())
        subprocess.run(["bash", script], check=True, capture_output=True)
        return self._folder / "secrets"

    def _secret(self, name):
        return self._here((self._secrets / name).read_text())

    def _here(self, words):
        """Put addresses and folders of this machine in place of a cluster's."""
        ports = getattr(self, "_ports", {})
        for theirs, ours in {
            "mlflow:5000": f"127.0.0.1:{ports['mlflow']}",
            "localhost:5000": f"localhost:{ports['mlflow']}",
            "127.0.0.1:5000": f"127.0.0.1:{ports['mlflow']}",
            "--port 5000": f"--port {ports['mlflow']}",
            "0.0.0.0": "127.0.0.1",
            "s3:9000": f"127.0.0.1:{ports['s3']}",
            "tuner-head-svc:8265": f"127.0.0.1:{ports['dashboard']}",
            "redis:6379": f"127.0.0.1:{ports['redis']}",
            "redis-server": f"{redis_server()} --port {ports['redis']}",
            "--dir /data": f"--dir {self._folder}",
            "/run/secrets/": f"{self._folder}/run/",
        }.items():
            words = words.replace(theirs, ours)
        for name in ("tuner", "mlflow"):
            theirs = rf"postgresql\+psycopg://tuner:\w+@postgres/{name}"
            words = re.sub(theirs, lambda _, n=name: sqlalchemy_url(self._postgres, n), words)
        return words

    def _environment(self, container, name):
        """What a container finds in its environment, with what is mounted into it."""
        home = self._temporary / name
        found = {
            "PATH": f"{_BIN}:{os.environ['PATH']}",
            "TUNER_HOME": str(home / "tuner"),  # the image's, or the manifest's, are elsewhere
            "PYTHONUNBUFFERED": "1",
        }
        if container.get("envFrom"):
            found |= {name: self._here(value) for name, value in self._settings.items()}
        for each in container.get("env", []):
            if "value" in each:
                found[each["name"]] = self._here(each["value"])
            else:
                reference = each["valueFrom"]["secretKeyRef"]
                key = {"auth_token": "ray_token"}.get(reference["key"], reference["key"])
                found[each["name"]] = self._secret(key)
        found |= {"HOME": str(home), "TUNER_HOME": str(home / "tuner")}
        for mount in container.get("volumeMounts", []):
            if mount["name"] == "secrets":
                self._mount(mount, home, found)
        return found

    def _mount(self, mount, home, environment):
        content, place = self._secret(mount["subPath"]), mount["mountPath"]
        if place.startswith("/tmp/"):  # which is the home there
            file = home / Path(place).relative_to("/tmp")
        else:
            file = self._folder / "run" / Path(place).name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        if mount["subPath"] == "tuner_database_url":  # else read from /run/secrets
            environment["TUNER_DATABASE_URL"] = content

    def _piece(self, name, command, environment):
        node = Node(self._folder, "127.0.0.1", [str(part) for part in command], None, environment)
        self._nodes[name] = node
        self._stack.callback(node.kill)
        return node

    def _restart(self, node, ready):
        node.kill()
        node.start()
        until(ready, _STARTS)

    def _restart_postgres(self):
        stop_postgres(self._postgres)
        time.sleep(2)
        start_postgres(self._postgres)

    def _s3(self):
        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self._ports['s3']}",
            aws_access_key_id=self._secret("aws_access_key_id"),
            aws_secret_access_key=self._secret("aws_secret_access_key"),
            region_name=self._settings["AWS_DEFAULT_REGION"],
        )

    def _start_s3(self):
        port = self._ports["s3"]
        node = self._piece("s3", [_BIN / "moto_server", "-H", "127.0.0.1", "-p", port], {})
        until(partial(_answers, f"http://127.0.0.1:{port}/moto-api"), _STARTS)
        self._s3().create_bucket(Bucket="alignment-tuner")

        def freeze():  # it keeps all in memory
            with node.cut_off():
                time.sleep(_FROZEN)

        self._restarts["s3"] = freeze

    def _start_redis(self):
        pod = _manifests("redis.yaml")[0]["spec"]["template"]["spec"]
        self._start_container("redis", pod["containers"][0], lambda: True)
        del self._restarts["redis"]  # with which the head ends, and what it knows

    def _start_mlflow(self):
        pod = _manifests("mlflow.yaml")[0]["spec"]["template"]["spec"]
        self._mlflow = f"http://127.0.0.1:{self._ports['mlflow']}"
        ready = partial(_answers, f"{self._mlflow}/health")
        self._start_container("mlflow", pod["containers"][0], ready)
        until(ready, _STARTS)
        self._hash_quickly()

    def _start_container(self, name, container, ready):
        *shell, script = container["command"]
        command = [*shell, self._here(script)]
        node = self._piece(name, command, self._environment(container, name))
        self._restarts[name] = partial(self._restart, node, ready)

    def _hash_quickly(self):
        """Give MLflow's user the same password by another hash: its own takes .1 s a request."""
        password = re.search("admin_password = (.*)", self._secret("mlflow_auth.ini"))[1]
        hashed = generate_password_hash(password, "pbkdf2:sha256:1")
        url = sqlalchemy_url(self._postgres, "mlflow").replace("+psycopg", "")
        with psycopg.connect(url) as connection:
            words = "UPDATE users SET password_hash = %s WHERE username = 'tuner'"
            assert connection.execute(words, (hashed,)).rowcount == 1

    def _start_ray(self):
        (cluster,) = [m for m in _manifests("ray.yaml") if m["kind"] == "RayCluster"]
        spec = cluster["spec"]
        assert spec["authOptions"] == {"mode": "token", "secretName": "ray-auth"}
        kept = spec["gcsFaultToleranceOptions"]
        knowledge = {
            "RAY_REDIS_ADDRESS": self._here(kept["redisAddress"]),
            "RAY_external_storage_namespace": "deployment",
        }
        ports = ("--port", self._ports["head"], "--dashboard-port", self._ports["dashboard"])
        password = ("--redis-password", self._secret("redis_password"))
        temporary = ("--temp-dir", self._temporary / "ray")
        self._start_node(
            "head", spec["headGroupSpec"], ("--head", *ports, *password, *temporary), knowledge
        )
        for group in spec["workerGroupSpecs"]:
            address = ("--address", f"127.0.0.1:{self._ports['head']}")
            self._start_node(f"{group['groupName']} node", group, address, {})

    def _start_node(self, name, group, options, environment):
        container = group["template"]["spec"]["containers"][0]
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self._secret("ray_token")}
        command = [_BIN / "ray", "start", "--block", "--disable-usage-stats"]
        command += ["--node-ip-address", "127.0.0.1", "--object-store-memory", _OBJECTS, *options]
        command += ["--dashboard-agent-listen-port", free_port()]
        for option, value in group["rayStartParams"].items():
            command += [f"--{option}", self._here(shlex.split(value)[0])]
        # A container finds nothing there; here other nodes' processes would be taken for its own.
        known = self._temporary / "ray" / "ray_current_cluster"
        words = shlex.join([str(part) for part in command])
        command = ["sh", "-c", f"rm -f {known}; exec {words}"]
        found = self._environment(container, name.replace(" ", "-")) | token | environment
        node = self._piece(name, command, found)
        ready = partial(node.processes, "raylet/raylet")
        self._restarts[name] = partial(self._restart, node, ready)
        until(ready, _STARTS)


def _answers(url):
    try:
        return requests.get(url, timeout=5).status_code < 500
    except requests.RequestException:
        return False
