"""A Ray cluster of several nodes on this machine that can be killed, cut off and started again.

Each node has a network of its own, on a bridge to which this machine belongs too, and its own
`/dev/shm` and files of Ray. Where that is not allowed, nodes are processes on this machine's
address, and one is cut off by stopping its processes for a while.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from tests.support.servers import free_port

_SOON = {  # how soon a node that does not answer is given up: seconds, not a minute
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
}
_REDIS = "redis-server"
_PASSWORD = "p" * 32
_OBJECTS = 100 * 2**20  # bytes of a node's object store


def _ip(command):
    subprocess.run(["ip", *command.split()], check=True, capture_output=True)


def _files():
    """Where Ray keeps its files; short, because sockets are among them."""
    return f"/tmp/ray-{os.getpid()}"


def _may_have_namespaces():
    name = f"tuner-probe-{os.getpid()}"
    try:
        _ip(f"netns add {name}")
        _ip(f"netns delete {name}")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


class Node:
    """A node that is started again whenever it ends, as a container is.

    Attributes:
        address: Its IP address.
    """

    def __init__(self, folder, address, command, namespace, environment):
        self.address = address
        self._command = shlex.join(command)
        if namespace:
            own = [f"mount -t tmpfs tmpfs {path}" for path in ("/dev/shm", _files())]
            script = " && ".join([*own, f"exec {self._command}"])
            self._command = shlex.join(["ip", "netns", "exec", namespace, "sh", "-c", script])
        self._namespace, self._environment = namespace, os.environ | environment
        self._log = folder / f"node-{namespace or free_port()}.log"
        self.start()

    def start(self):
        with self._log.open("ab") as log:
            self._keeper = psutil.Popen(
                ["sh", "-c", f"while true; do {self._command}; sleep 1; done"],
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def processes(self, name=""):
        """What runs on it, by a part of the command line."""
        try:
            family = self._keeper.children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [process for process in family if name in _command_line(process)]

    def kill(self):
        """Have everything on it gone at once, for good."""
        _signal(self._keeper, signal.SIGSTOP)  # else it starts another
        family = self.processes()
        for process in (*family, self._keeper):
            _signal(process, signal.SIGKILL)
        psutil.wait_procs([*family, self._keeper], timeout=20)

    @contextmanager
    def cut_off(self):
        """Let nothing pass between it and the others."""
        if self._namespace:
            _ip(f"link set {self._namespace} down")
        stopped = [] if self._namespace else self.processes()
        for process in stopped:
            _signal(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in stopped:
                _signal(process, signal.SIGCONT)
            if self._namespace:
                _ip(f"link set {self._namespace} up")


class Nodes:
    """A head, on which drivers run, and workers.

    Attributes:
        head: The head.
        workers: The others.
        jobs: URL of its Jobs API.
        threshold: Share of the machine's memory above which a worker ends what it trains.
        remembers: Whether what the head knows outlives it, in a Redis, where there is one.
        access: What has to be in the environment of who uses it.
    """

    def __init__(self, folder, stack, workers, memory, environment):
        self._folder, self._stack, self.threshold = folder, stack, memory
        self._bridge = f"tb{os.getpid() % 2**20}" if _may_have_namespaces() else None
        subnet = f"10.{77 + os.getpid() // 256 % 128}.{os.getpid() % 256}"
        addresses = [
            f"{subnet}.{1 + k}" if self._bridge else "127.0.0.1" for k in range(1 + workers)
        ]
        if self._bridge:
            _ip(f"link add {self._bridge} type bridge")
            stack.callback(_ip, f"link delete {self._bridge}")
            _ip(f"address add {subnet}.254/24 dev {self._bridge}")
            _ip(f"link set {self._bridge} up")
        Path(_files()).mkdir()
        stack.callback(shutil.rmtree, _files())
        token = folder / "ray-token"
        token.write_text("a" * 64)
        self.access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        self._environment = _SOON | self.access | environment
        self.remembers = shutil.which(_REDIS) is not None
        knowledge = self._redis(f"{subnet}.254" if self._bridge else "127.0.0.1")
        port, dashboard = (6379, 8265) if self._bridge else (free_port(), free_port())
        self.jobs = f"http://{addresses[0]}:{dashboard}"
        head = ["--head", "--port", port, "--num-cpus", 0, "--temp-dir", _files()]
        head += ["--dashboard-host", "0.0.0.0", "--dashboard-port", dashboard]
        head += ["--redis-password", _PASSWORD] if knowledge else []
        self.head = self._node(addresses[0], head, knowledge)
        worker = ["--address", f"{addresses[0]}:{port}", "--num-cpus", 1]
        full = {"RAY_memory_usage_threshold": str(memory)}  # the head's processes are left alone
        self.workers = [self._node(address, worker, full) for address in addresses[1:]]

    def _redis(self, address):
        """Start what the head keeps its knowledge in; return how the head is told."""
        if not self.remembers:
            return {}
        port = free_port()
        command = [_REDIS, "--bind", address, "--port", str(port), "--save", ""]
        with (self._folder / "redis.log").open("wb") as log:
            server = psutil.Popen([*command, "--requirepass", _PASSWORD], stdout=log, stderr=log)
        self._stack.callback(server.wait, 20)
        self._stack.callback(server.terminate)
        self._environment |= {"RAY_gcs_rpc_server_reconnect_timeout_s": "120"}
        return {"RAY_REDIS_ADDRESS": f"{address}:{port}", "RAY_external_storage_namespace": "tests"}

    def _node(self, address, options, environment):
        namespace = None
        if self._bridge:
            namespace = f"{self._bridge}-{address.rpartition('.')[2]}"
            _ip(f"netns add {namespace}")
            self._stack.callback(_ip, f"netns delete {namespace}")
            _ip(f"link add {namespace} type veth peer name eth0 netns {namespace}")
            _ip(f"link set {namespace} master {self._bridge} up")
            for command in (
                f"address add {address}/24 dev eth0",
                "link set eth0 up",
                "link set lo up",
                f"route add default via {address.rpartition('.')[0]}.254",
            ):
                _ip(f"-n {namespace} {command}")
        else:
            options = [*options, "--dashboard-agent-listen-port", free_port()]
        ray = Path(sys.executable).with_name("ray")
        command = [ray, "start", "--block", "--disable-usage-stats", "--node-ip-address", address]
        command += ["--object-store-memory", _OBJECTS, *options]
        node = Node(
            self._folder,
            address,
            [str(part) for part in command],
            namespace,
            self._environment | environment,
        )
        self._stack.callback(node.kill)
        return node


@contextmanager
def ray_nodes(folder, workers, memory, environment):
    """A cluster with a head that trains nothing and workers of one CPU each.

    Args:
        folder: For logs and the token.
        workers: How many.
        memory: Share of the machine's memory above which a worker ends what it trains.
        environment: Of all nodes.
    """
    with ExitStack() as stack:
        yield Nodes(folder, stack, workers, memory, environment)


def _command_line(process):
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _signal(process, number):
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
