"""Provides what the benchmarks share: a broker, a camera process, a bare loop, a daemon that
answers questions, small models.
"""

import multiprocessing as mp
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"  # Debian keeps Mosquitto where only root looks
LOOPBACK = "127.0.0.1"
NODE, NOBODY, CAMERAS = "bench", "nobody", 4  # a daemon listens to the first node only
WIDTH, HEIGHT = 320, 240  # of the cameras' frames
SPAWN = mp.get_context("spawn")
LABELS = [f"class {i}" for i in range(10)]


# ---- models and frames -------------------------------------------------------------------------------------------


def mobile_net(path: Path, side: int, width: int, blocks: int) -> Path:
    """Writes a network of depthwise-separable convolutions (as in MobileNet) with random
    weights: `side` x `side` in, 10 out.
    """
    rng = np.random.default_rng(0)
    nodes: list[Any] = []
    tensors: list[Any] = []

    def weight(name: str, *shape: int) -> str:
        fan_in = int(np.prod(shape[1:]))
        tensors.append(numpy_helper.from_array(rng.normal(0, (2 / fan_in) ** 0.5, shape).astype(np.float32), name))
        return name

    def conv(source: str, name: str, depth: int, out: int, size: int, stride: int, group: int = 1) -> str:
        arrays = [source, weight(f"{name}.weight", out, depth // group, size, size)]
        options = {"pads": [size // 2] * 4, "strides": [stride] * 2, "group": group}
        nodes.append(helper.make_node("Conv", arrays, [f"{name}.conv"], **options))
        nodes.append(helper.make_node("Relu", [f"{name}.conv"], [f"{name}.out"]))
        return f"{name}.out"

    last, depth = conv("image", "stem", 3, width, 3, 2), width
    for i in range(blocks):
        stride = 2 if i % 2 else 1
        last = conv(last, f"depthwise{i}", depth, depth, 3, stride, group=depth)
        last = conv(last, f"pointwise{i}", depth, depth * stride, 1, 1)
        depth *= stride
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["features"]))
    head = [weight("head.weight", 10, depth), weight("head.bias", 10)]
    nodes.append(helper.make_node("Gemm", ["features", *head], ["logits"], transB=1))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, side, side])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])
    graph = helper.make_graph(nodes, "mobile_net", [image], [logits], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def jpegs(count: int = 32) -> list[bytes]:
    """Returns frames with edges and noise, so that they are as large as a camera's (some 15 kB)."""
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(count):
        image = cv2.resize(rng.integers(0, 256, (15, 20, 3), np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        for x, y, w, h in rng.integers(20, 200, (6, 4)):
            cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), rng.integers(0, 256, 3).tolist(), -1)
        noisy = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
        frames.append(cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
    return frames


# ---- processes ---------------------------------------------------------------------------------------------------


class Asked:
    """Runs a process that answers requests over a pipe, one at a time."""

    def __init__(self, main: Any, *args: Any, cores: set[int] | None = None):
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_begin, args=(cores, main, theirs, *args), daemon=True)
        self.process.start()
        theirs.close()
        assert self.pipe.recv() == "ready"

    def __call__(self, *words: Any) -> Any:
        self.pipe.send(words)
        return self.pipe.recv()

    def close(self) -> None:
        self.pipe.close()
        self.process.join(15)
        if self.process.is_alive():
            self.process.terminate()


def _begin(cores: set[int] | None, main: Any, pipe: Connection, *args: Any) -> None:
    if cores is not None:
        os.sched_setaffinity(0, cores)
    main(pipe, *args)


def words(pipe: Connection) -> Iterator[tuple[Any, ...]]:
    """Yields the requests until the other side closes the pipe."""
    pipe.send("ready")
    try:
        while True:
            yield pipe.recv()
    except (EOFError, OSError):
        return


@contextmanager
def mosquitto(folder: Path, core: int | None) -> Iterator[int]:
    """Runs a real broker on loopback and yields its port."""
    executable = shutil.which("mosquitto", path=PATH)
    assert executable is not None, "these benchmarks need mosquitto: apt-get install mosquitto"
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} {LOOPBACK}\nallow_anonymous true\npersistence false\nlog_dest none\n")
    process = subprocess.Popen([executable, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if core is not None:
        os.sched_setaffinity(process.pid, {core})
    try:
        until = time.monotonic() + 10
        while socket.socket().connect_ex((LOOPBACK, port)) != 0:
            assert time.monotonic() < until, "mosquitto does not listen"
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()


def camera_process(pipe: Connection, port: int) -> None:
    """Publishes frames of `CAMERAS` cameras in turn. A request sets (frames per second of all
    together, node); 0 pauses.
    """
    import paho.mqtt.client as paho
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "bench-camera", protocol=paho.MQTTv5)
    client.connect(LOOPBACK, port)
    client.loop_start()
    frames, rate, node, changed = jpegs(), [0.0], [NODE], threading.Event()

    def publish() -> None:
        number, due = 0, time.monotonic()
        while True:
            if not rate[0]:
                changed.wait()
                changed.clear()
                due = time.monotonic()
                continue
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = [("frame_time", f"{time.time():.6f}"), ("seq", str(number // CAMERAS))]
            topic = f"leeway/{node[0]}/camera-{number % CAMERAS}/frame"
            client.publish(topic, frames[number % len(frames)], properties=properties)
            number += 1
            due += 1 / (rate[0] or 1.0)
            time.sleep(max(0.0, due - time.monotonic()))

    threading.Thread(target=publish, daemon=True).start()
    for word in words(pipe):
        rate[0], node[0] = word
        changed.set()
        pipe.send(None)


def bare_process(pipe: Connection, model: Path, input_table: Mapping[str, Any]) -> None:
    """Runs decode, prepare and `session.run`, nothing else. A request states seconds; answered by seconds per frame,
    wall and CPU, of each.
    """
    import onnxruntime as ort

    from porting.images import decode, prepare
    from porting.variant import InputSpec

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    spec = InputSpec(**input_table)
    frames, names = jpegs(), [node.name for node in session.get_outputs()]
    for (seconds,) in words(pipe):
        walls, cpus = [], []
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            cpu = time.thread_time()
            session.run(names, {spec.name: prepare(decode(frames[len(walls) % len(frames)]), spec)[None]})
            walls.append(time.perf_counter() - began)
            cpus.append(time.thread_time() - cpu)
        pipe.send((walls, cpus))


class Probe:
    """Listens last to the live world and records when a result had been handed to MQTT, and what
    the work for it was.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, int, int, int]] = []  # ns: until told, until handed over, decode, infer; when
        self.on = False

    def arrived(self, camera: str) -> None: ...

    def dropped(self, camera: str, app: str, reason: str) -> None: ...

    def replied(self, opened: Any, reply: Any, now: int) -> None:
        """Records one answered frame while it is on."""
        if self.on and opened.frame is not None and reply.outcome == "ok":
            at, begun = time.monotonic_ns(), opened.request.arrived_ns
            infer_ns = sum(job.infer_ns for job in opened.jobs.values())
            self.rows.append((now - begun, at - begun, opened.picture.decode_ns, infer_ns, at))


def daemon_process(pipe: Connection, table: Mapping[str, Any], pins: Mapping[str, set[int]] | None = None) -> None:
    """Runs the daemon as `leeway run` does. Threads whose name begins with a key of `pins` go to those cores.

    Requests: ("count",) answered frames, arrived frames, seconds, CPU seconds by thread, resident bytes; ("latencies",
    on) the probe's rows since the last time; ("call", function, *args) anything, on the asking thread.
    """
    from edge.config import Config
    from edge.daemon import WiredDaemon, serve
    from edge.sources.mqtt.source import MqttSource

    def ready(parts: WiredDaemon) -> None:
        probe = Probe()
        parts.world.listeners.append(probe)  # type: ignore[attr-defined]
        threading.Thread(target=answer, args=(parts, probe), daemon=True).start()

    def answer(parts: WiredDaemon, probe: Probe) -> None:
        (mqtt,) = (source for source in parts.sources if isinstance(source, MqttSource))
        assert mqtt.wait_connected(20)  # it opens its door once the models are loaded
        for thread in threading.enumerate():
            for prefix, cores in (pins or {}).items():
                if thread.name.startswith(prefix) and thread.native_id is not None:
                    os.sched_setaffinity(thread.native_id, cores)
        for word in words(pipe):
            if word[0] == "count":
                answered = sum(stream.answered for stream in parts.metrics.streams.values())
                arrived = sum(stream.arrived for stream in parts.metrics.streams.values())
                pipe.send((answered, arrived, time.perf_counter(), thread_seconds(), resident()))
            elif word[0] == "latencies":
                probe.on, rows, probe.rows = word[1], probe.rows, []
                pipe.send(rows)
            elif word[0] == "call":
                pipe.send(word[1](parts, *word[2:]))
        parts.world.ask_to_stop()

    serve(Config.model_validate(table), on_ready=ready)


def thread_seconds() -> dict[str, float]:
    """Returns the CPU time of this process's Python threads so far, by name."""
    return {
        thread.name: time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        for thread in threading.enumerate()
        if thread.ident is not None and thread.is_alive()
    }


def resident() -> int:
    """Returns the resident set size in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ---- the whole ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Placement:
    """Says on which core each part runs. None: wherever the system puts it."""

    name: str
    lane: int | None  # core of the lane's thread, and of the bare loop
    rest: int | None  # core of the daemon's other threads
    outside: int | None  # core of camera and broker


@dataclass
class Rig:
    """Holds the processes of one measurement."""

    bare: Asked
    camera: Asked
    daemon: Asked


@contextmanager
def rig(folder: Path, model: Path, placement: Placement, **more: Any) -> Iterator[Rig]:
    """Runs broker, camera, a daemon with this model as its only one, and the bare loop; no frame is sent yet."""
    table, input_table = ported(folder, model)
    with ExitStack() as stack:
        port = stack.enter_context(mosquitto(folder, placement.outside))
        table = {**table, "mqtt": {"port": port, "node": NODE}, **more}
        lane, rest, outside = (None if core is None else {core} for core in
                               (placement.lane, placement.rest, placement.outside))  # fmt: skip
        if lane:
            table["devices"] = {"cpu0": {"use": "devices.cpu:Cpu", "cores": sorted(lane)}}
        pins = {"MainThread": rest, "mqtt": rest, "Thread-": rest} if rest else None
        bare = Asked(bare_process, model, input_table, cores=lane)
        stack.callback(bare.close)
        camera = Asked(camera_process, port, cores=outside)
        stack.callback(camera.close)
        daemon = Asked(daemon_process, table, pins)
        stack.callback(daemon.close)
        yield Rig(bare, camera, daemon)


def ported(folder: Path, model: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ports the model; returns the config table of a daemon that serves it, and the spec of its input."""
    from dataclasses import asdict

    from devices.cpu import Cpu
    from porting.pipeline import port
    from porting.repository.repository import Repository

    root = folder / f"{model.stem}-repository"
    repository = Repository(root)
    if repository.serving("model") is None:
        port(model, "model", repository, Cpu(), labels=LABELS, batches=(1,))
    variant = repository.variant("model", str(repository.serving("model")))
    spec = repository.stages(variant, "cpu")[0].input
    assert spec is not None
    return {
        "models": str(root),
        "apps": {"model": {"use": "edge.answers.single:Single", "model": "model", "slo_ms": 200}},
        "streams": {"*": {"apps": ["model"], "waiting_max": 1}},
    }, asdict(spec)


def machine() -> dict[str, Any]:
    """Returns where and with what this ran."""
    import platform
    from datetime import UTC, datetime

    import onnxruntime

    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.processor())  # fmt: skip
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
        "priority": priority(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def priority() -> str:
    """Returns the priority of these processes over others that want the same cores: nice value and autogroup.

    The kernel makes a group of one terminal's processes (`sched(7)`).
    """
    group = Path("/proc/self/autogroup")
    said = group.read_text().split("nice")[-1].strip() if group.exists() else "0"
    return f"nice {os.nice(0)}, of the kernel's autogroup {said}"
