"""The examples of CONTRIBUTING.md, taken from the page and run: what a newcomer copies must work."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from devices.artefact import Target
from devices.interface import DeviceError
from edge.core.events import (
    Arrived,
    Finished,
    LaneUp,
    Load,
    Loaded,
    Plan,
    Planned,
    Request,
    Run,
    Served,
    StepResult,
    Woke,
)
from edge.core.interfaces import Moment
from edge.core.scheduler import Scheduler
from edge.core.state import State
from edge.estimators.table import Table
from edge.policies.wrappers.model_loading import ModelLoading
from edge.sources.source import USUAL, Source
from porting.checks.equivalence import difference
from porting.formats.classification import Classification
from porting.formats.format import Format, PictureView
from porting.variant import InputSpec, Stage, Variant
from tests.conftest import eventually
from tests.edge.sources.inbox import KeepingInbox

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
EXAMPLES = {code.split("\n")[0][2:]: code for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)}
MS = 1_000_000


@pytest.fixture
def example(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The example of that file name, as the module that it would be."""
    name = "example_" + Path(request.param).stem
    module = sys.modules[name] = ModuleType(name)  # dataclasses look their module up
    exec(compile(EXAMPLES[request.param], request.param, "exec"), module.__dict__)
    yield module
    del sys.modules[name]


def of(file: str):
    return pytest.mark.parametrize("example", [file], indirect=True, ids=[file])


def test_there_is_one_example_of_each_kind():
    folders = sorted(str(Path(file).parent) for file in EXAMPLES)
    assert folders == [
        "devices",
        "drift/detection",
        "edge/planners",
        "edge/policies",
        "edge/sources",
        "porting/formats",
        "porting/graph",
    ]


@pytest.mark.parametrize("chore", [["check"], ["format", "--check"]], ids=" ".join)
@pytest.mark.parametrize("file", EXAMPLES)
def test_it_looks_like_our_code(file: str, chore: list[str]):
    call = [sys.executable, "-m", "ruff", *chore, "--stdin-filename", file, "-"]
    said = subprocess.run(call, cwd=ROOT, input=EXAMPLES[file], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


class Bench:
    """One lane, one model of 10 ms, a policy; events in, orders out."""

    def __init__(self, policy: object):
        self.stage = Stage("onnx", "graph", blobs={"graph": 1_000}, durations_ns={1: 10 * MS})
        self.scheduler = Scheduler(State(Table()), ModelLoading(policy), {})
        self.now = 0
        self.hear(LaneUp("cpu0", "cpu", 1_000_000))
        for action in self.hear(Served(Variant("m", "v", (self.stage.digest,)), (self.stage,))):
            if isinstance(action, Load):
                self.hear(Loaded("cpu0", action.stage))

    def hear(self, event: object) -> list:
        self.now += MS
        return self.scheduler.handle(event, self.now)

    def arrive(self, id: int, priority: int = 0) -> list:
        return self.hear(Arrived(Request(id, "m", "camera", self.now, self.now + 500 * MS, priority)))

    def finish(self, run: Run) -> list:
        return self.hear(Finished(run.work_id, {task.id: StepResult() for task in run.tasks}))


def runs(actions: list) -> list[Run]:
    return [action for action in actions if isinstance(action, Run)]


@of("edge/policies/importance.py")
def test_the_policy_serves_what_matters_first(example: ModuleType):
    bench = Bench(example.MostImportantFirst())
    [running] = runs(bench.arrive(1))
    assert not runs(bench.arrive(2)) + runs(bench.arrive(3, priority=5)) + runs(bench.arrive(4))
    served = []
    while running:
        served += [task.request for task in running.tasks]
        running = next(iter(runs(bench.finish(running))), None)
    assert served == [1, 3, 2, 4]


@of("edge/planners/hush.py")
def test_the_planner_pauses_background_work_while_many_wait(example: ModuleType):
    from edge.policies.fifo import Fifo

    bench, planner = Bench(Fifo()), example.Hush(waiting_max=2, background=0.4)

    def planned() -> list[Planned]:
        events = list(planner.observe(Moment(bench.now, Woke(), (), bench.scheduler.state)))
        for event in events:
            bench.hear(event)
        return events

    assert planned() == [Planned(Plan(background=0.4))]
    assert planned() == []  # nothing new, nothing said
    for id in range(1, 5):  # one runs, three wait
        bench.arrive(id)
    assert planned() == [Planned(Plan(background=0.0))]


@of("porting/formats/embedding.py")
def test_the_format_reads_scores_and_gives_signals(example: ModuleType):
    embedding, view = example.Embedding(), PictureView("faces", 64, 64, InputSpec("image", 32, 32))
    graph = SimpleNamespace(output_shape=(None, 3), output_name="out")
    assert isinstance(embedding, Format)
    assert embedding.matches(graph) < Classification().matches(graph)
    spec = embedding.settle(graph, None)

    def read(*vector: float) -> list:
        return embedding.read(spec, {"out": np.array(vector, np.float32)}, view)

    assert read(0, 3, 4)[0].as_json()["vector"] == pytest.approx([0, 0.6, 0.8])
    pairs = [((1, 0, 0), (2, 0, 0)), ((1, 0, 0), (0, 1, 0)), ((1, 0, 0), (-1, 0, 0)), ((0, 0, 0), (0, 0, 0))]
    assert [embedding.score(read(*a), read(*b)) for a, b in pairs] == [1, 0, 0, 0]
    assert embedding.signals(spec, {"out": np.ones(3, np.float32)}).answer.shape == (3,)


@of("drift/detection/mean_entropy.py")
def test_the_detector_scores_what_is_unlike_higher(example: ModuleType):
    random = np.random.default_rng(0)
    sure, unsure = random.dirichlet([0.1] * 5, 400), random.dirichlet([5.0] * 5, 100)
    detector = example.MeanEntropy(sure)
    assert abs(detector.score(sure)) < 1e-9
    assert detector.score(unsure) > 5 * abs(detector.score(sure[:100]))
    assert detector.score(unsure[::-1]) == pytest.approx(detector.score(unsure))
    assert np.isfinite(detector.score(np.eye(5)[:1]))


@of("edge/sources/snapshots.py")
def test_the_source_hands_over_what_is_uploaded_and_writes_what_came_of_it(example: ModuleType, tmp_path: Path):
    inbox, source = KeepingInbox(), example.Snapshots(str(tmp_path), period_s=0.001)
    assert isinstance(source, Source)
    (tmp_path / "gate.jpg").write_bytes(b"jpeg")
    source.start(inbox)
    assert eventually(lambda: inbox.frames and not [*tmp_path.glob("*.jpg")])
    source.publish("gate/colour/result", {"camera": "gate", "objects": []}, USUAL)
    source.publish("stats", {"final": True}, USUAL)
    assert [path.name for path in tmp_path.iterdir()] == ["gate.json"]
    (tmp_path / "folder.jpg").mkdir()
    assert eventually(lambda: inbox.faults)
    source.stop()
    assert [(frame.camera, frame.payload) for frame in inbox.frames] == [("gate", b"jpeg")]
    assert eventually(lambda: "snapshots" not in {thread.name for thread in threading.enumerate()})


def identity_chain() -> onnx.ModelProto:
    """y = relu(identity(identity(x))) and z = identity(y): the last one is an output and has to stay."""
    nodes = [
        helper.make_node("Identity", ["x"], ["a"]),
        helper.make_node("Identity", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
        helper.make_node("Identity", ["y"], ["z"]),
    ]
    x, y, z = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "xyz")
    return helper.make_model(
        helper.make_graph(nodes, "chain", [x], [y, z]), opset_imports=[helper.make_opsetid("", 17)]
    )


@of("porting/graph/no_identity.py")
def test_the_pass_changes_the_graph_and_not_what_it_computes(example: ModuleType):
    parent = identity_chain()
    before = parent.SerializeToString()
    child = example.NoIdentity().apply(parent)
    onnx.checker.check_model(child)
    assert parent.SerializeToString() == before
    assert [node.op_type for node in child.graph.node] == ["Relu", "Identity"]
    samples = {"x": np.random.default_rng(1).standard_normal((7, 3)).astype(np.float32)}
    for old, new in zip(*(ReferenceEvaluator(model).run(None, samples) for model in (parent, child)), strict=True):
        assert difference(old, new).worst == 0


@of("devices/reference.py")
def test_the_device_runs_what_it_loads_and_fails_politely(example: ModuleType, tmp_path: Path):
    onnx.save(identity_chain(), tmp_path / "model.onnx")
    device = example.Reference()
    made = device.compile((tmp_path / "model.onnx").read_bytes(), Target((1, 2)))
    assert device.accepts(made.kind)
    assert not device.accepts("plan")
    (tmp_path / "model.onnx").write_bytes(made.content)
    engine = device.load(tmp_path / "model.onnx")
    assert [spec.shape for spec in engine.inputs] == [(None, 3)]
    x = np.array([[-1, 0, 2]], np.float32)
    np.testing.assert_array_equal(engine.run({"x": x})["z"], np.maximum(x, 0))
    engine.stop()
    device.enter(background=True)
    with pytest.raises(DeviceError):
        engine.run({"wrong": x})
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(DeviceError, match=r"broken\.onnx"):
        device.load(tmp_path / "broken.onnx")
    engine.close()
    engine.close()
