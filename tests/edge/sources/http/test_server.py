"""The daemon asked with tensors: answers are those of the graphs, a wrong question is one line, and the books hold."""

import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from devices.cpu import Cpu
from devices.oip import LENGTH_HEADER, WireMessage, packed, unpacked
from edge.config import load
from edge.observers.trace import replay
from edge.policies.wrappers.default_stack import complete
from edge.sources.http.server import HttpSource
from evaluation.arrivals.recording import scenario_of
from porting.errors import UserError
from porting.repository.repository import Repository
from tests.edge.daemon_builder import CASCADE, Daemon, add_up, edge, jpeg, swapped, within
from tests.edge.sources.inbox import KeepingInbox

APPS = {"colour": {"use": "edge.answers.single:Single", "model": "paint", "slo_ms": 5000}, "junction": CASCADE}
RED = np.zeros((1, 3, 16, 16), np.float32)
RED[:, 0] = 1.0


@dataclass
class Said:
    status: int
    table: dict[str, Any]
    tensors: dict[str, Any]


class Asker:
    """A client on one connection."""

    def __init__(self, port: int):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def ask(self, path: str, message: WireMessage | None = None, verb: str = "", **headers: str) -> Said:
        body, named = (message.body, {**message.headers(), **headers}) if message else (None, headers)
        self.connection.request(verb or ("POST" if message else "GET"), path, body, named)
        response = self.connection.getresponse()
        content, length = response.read(), response.getheader(LENGTH_HEADER)
        table = json.loads(content[: int(length)] if length else content)
        if response.status != 200 or "outputs" not in table or path.count("/infer") == 0:
            return Said(response.status, table, {})
        return Said(200, *unpacked(content, int(length) if length else None, "outputs"))

    def infer(self, model: str, tensors: Any, binary: Any = None, **head: Any) -> Said:
        return self.ask(f"/v2/models/{model}/infer", packed(head, "inputs", tensors, binary))


def peer(box: Path, ready: bool = True, **changes: Any) -> Daemon:
    """A daemon that listens on a free port."""
    return Daemon(edge(box, **{"apps": APPS, "http": {"port": 0}, **changes}))


def asker(daemon: Daemon) -> Asker:
    made = Asker(daemon.http.port)
    assert within(lambda: made.ask("/v2/health/ready").status == 200)
    return made


@pytest.fixture(scope="module")
def shared(ported_once, tmp_path_factory):
    """One daemon for all tests that only ask."""
    import shutil

    box = Path(shutil.copytree(ported_once, tmp_path_factory.mktemp("shared") / "box"))
    with peer(box) as daemon:
        yield box, daemon


@pytest.fixture
def client(shared):
    return asker(shared[1])


@pytest.fixture
def repository(shared):
    return Repository(shared[0] / "repository")


def stages_of(repository, model):
    variant = repository.variant(model, str(repository.serving(model)))
    return repository.stages(variant, "cpu")


def right(image: Any) -> Any:
    """What `paint` says: twenty times the mean of each channel."""
    return 20 * image.mean(axis=(2, 3))


# ---- what the server says of itself


def test_it_says_what_it_speaks(client):
    said = client.ask("/v2")
    assert said.table["name"] == "leeway"
    assert {"binary_tensor_data", "schedule_policy"} <= set(said.table["extensions"])
    assert client.ask("/v2/health/live").status == 200
    assert client.ask("/v2/models/paint/ready").table == {"name": "paint", "ready": True}


def test_a_model_says_what_it_takes_and_gives(client):
    table = client.ask("/v2/models/paint").table
    assert table["versions"] == ["fp32"]
    assert table["platform"] == "onnx_onnxv1"
    assert table["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 16, 16]}]
    assert [output["name"] for output in table["outputs"]] == ["logits", "features"]
    assert client.ask("/v2/models/paint/versions/fp32").table == table


# ---- answers


@pytest.mark.parametrize("binary", [None, ()], ids=["bytes", "json"])
def test_answers_are_those_of_the_model_row_by_row(client, binary):
    images = np.random.default_rng(1).random((3, 3, 16, 16)).astype(np.float32)
    said = client.infer("paint", {"image": images}, binary, id="42")
    assert (said.status, said.table["id"]) == (200, "42")
    assert (said.table["model_name"], said.table["model_version"]) == ("paint", "fp32")
    np.testing.assert_allclose(said.tensors["logits"], right(images), rtol=1e-5)


def test_who_asks_says_which_outputs_and_how(client):
    both = client.infer("paint", {"image": RED}, outputs=[{"name": "features", "parameters": {"binary_data": True}}])
    assert [*both.tensors] == ["features"]
    assert both.table["outputs"][0]["parameters"] == {"binary_data_size": 12}
    as_bytes = client.infer("paint", {"image": RED}, parameters={"binary_data_output": True})
    assert all("data" not in output for output in as_bytes.table["outputs"])


def test_a_version_by_name(client):
    message = packed({}, "inputs", {"image": RED})
    assert client.ask("/v2/models/paint/versions/fp32/infer", message).table["model_version"] == "fp32"
    said = client.ask("/v2/models/paint/versions/int4/infer", message)
    assert (said.status, said.table) == (404, {"error": "paint has no version 'int4'; versions: fp32"})


def test_a_jpeg_goes_the_way_of_a_frame(client):
    pictures = np.empty(2, object)
    pictures[:] = [jpeg("red"), jpeg("blue")]
    said = client.infer("paint", {"image": pictures})
    assert said.tensors["logits"].argmax(1).tolist() == [0, 2]


def test_each_graph_by_its_digest_gives_what_it_gives_here(client, repository):
    """The backbone, then the head with weights that are sent along: another head than the one that serves there."""
    first, second = stages_of(repository, "paint")
    images = np.random.default_rng(2).random((2, 3, 16, 16)).astype(np.float32)
    features = client.infer(first.graph, {"image": images}).tensors
    here = Cpu().load(repository.blob(first.graph)).run({"image": images})
    assert features.keys() == here.keys()
    np.testing.assert_array_equal(features["features"], here["features"])
    head = {name: array[..., ::-1].copy() for name, array in repository.arrays(second.head).items()}
    inputs = {"features": here["features"], **head}
    there = client.infer(second.graph, inputs).tensors["logits"]
    np.testing.assert_array_equal(there, Cpu().load(repository.blob(second.graph)).run(inputs)["logits"])


def test_many_on_one_connection_and_many_at_once(shared):
    def ask():
        client = asker(shared[1])
        for _ in range(10):
            wrong.extend(said for said in [client.infer("paint", {"image": RED})] if said.status != 200)

    wrong: list[Said] = []
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []


def test_rows_of_one_question_share_a_batch(box):
    with peer(box) as daemon:
        client = asker(daemon)
        assert client.infer("paint", {"image": RED.repeat(4, axis=0)}).status == 200
        first = stages_of(Repository(box / "repository"), "paint")[0].digest
        assert max(len(run.tasks) for run in daemon.runs if run.stages[0] == first) > 1


# ---- wrong questions


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"picture": RED}, "'image' is missing; inputs: image"),
        ({"image": RED, "more": RED}, "'more' is no input; inputs: image"),
        ({"image": RED.astype(np.float64)}, "image: FP64 given, FP32 expected"),
        ({"image": RED[0]}, "image: shape [3, 16, 16] given, [-1, 3, 16, 16] expected"),
        ({"image": np.zeros((1, 3, 8, 8), np.float32)}, "image: shape [1, 3, 8, 8] given, [-1, 3, 16, 16] expected"),
        ({"image": RED[:0]}, "0 rows; expected the same number in each input, from 1 to 32"),
        ({"image": RED.repeat(33, axis=0)}, "33 rows; expected the same number in each input, from 1 to 32"),
    ],
)
def test_what_does_not_fit_is_one_line(client, tensors, said):
    answer = client.infer("paint", tensors)
    assert (answer.status, answer.table) == (400, {"error": said})


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({"outputs": [{"name": "box"}]}, "'box' is no output; outputs: logits, features"),
        ({"outputs": 3}, "outputs: expected a list of objects with a name"),
        ({"parameters": {"timeout": "soon"}}, "timeout is 'soon'; expected microseconds as a whole number"),
        ({"parameters": {"timeout": -1}}, "timeout is -1; expected microseconds as a whole number"),
    ],
)
def test_wrong_wishes_are_one_line(client, head, said):
    answer = client.infer("paint", {"image": RED}, **head)
    assert (answer.status, answer.table) == (400, {"error": said})


def test_inputs_of_a_graph_have_equally_many_rows(client, repository):
    _, second = stages_of(repository, "paint")
    arrays = {name: array[:2] for name, array in repository.arrays(second.head).items()}
    answer = client.infer(second.graph, {"features": np.zeros((1, 3), np.float32), **arrays})
    assert answer.status == 400
    assert answer.table["error"].endswith("expected")


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v2/models/nobody", 404, "no model and no graph is called 'nobody'"),
        ("/v2/models/paint/infer", 405, "Method Not Allowed"),
        ("/v3", 404, "Not Found"),
    ],
)
def test_wrong_paths(client, path, status, said):
    answer = client.ask(path)
    assert answer.status == status
    assert said in answer.table["error"]


def test_bodies_that_are_none(client):
    assert client.ask("/v2/models/paint/infer", WireMessage(b"hello", None)).status == 400
    assert client.ask("/v2/models/paint/infer", WireMessage(b"{}", None), **{LENGTH_HEADER: "x"}).status == 400


def test_a_bad_picture_is_a_failure_and_names_it(client):
    pictures = np.empty(1, object)
    pictures[:] = [jpeg("red")[:-99]]
    answer = client.infer("paint", {"image": pictures})
    assert answer.status == 500
    assert "JPEG" in answer.table["error"]


def test_a_body_may_not_be_longer_than_agreed(box):
    with peer(box, http={"port": 0, "body_mb": 1, "rows_max": 1024}) as daemon:
        answer = asker(daemon).infer("paint", {"image": RED.repeat(400, axis=0)})
        assert (answer.status, answer.table["error"]) == (413, "the body is longer than 1 MB (http.body_mb)")


# ---- drops, each with a reason, and the books


def test_no_time_is_late_and_counted(box):
    with peer(box) as daemon:
        client = asker(daemon)
        answer = client.infer("paint", {"image": RED}, parameters={"timeout": 1})
        assert answer.status == 503
        assert answer.table["error"].startswith("late")
        assert client.infer("paint", {"image": RED}).status == 200
        last = daemon.stop()
    assert last["streams"]["http/paint"]["dropped"] == {"late": 1}
    assert last["streams"]["http/paint"]["answered"] == 1
    assert add_up(last["frames"])


def test_frames_and_tensors_are_in_the_same_books(box):
    with peer(box) as daemon:
        client = asker(daemon)
        for _ in range(5):
            daemon.send(jpeg("red"))
            assert client.infer("paint", {"image": RED}).status == 200
        assert within(lambda: len(daemon.results) == 5)
        last = daemon.stop()
    assert last["frames"]["in"] == last["frames"]["answered"] == 10
    assert last["streams"]["http/paint"]["in"] == 5
    assert "http/paint/0" not in last["models"]


def test_more_than_may_wait_are_turned_away(box):
    with peer(box, http={"port": 0, "open_max": 2}) as daemon:
        answer = asker(daemon).infer("paint", {"image": RED.repeat(3, axis=0)})
        assert answer.status == 503
        assert answer.table["error"] == "busy: 0 rows are open, 2 may be (http.open_max)"
        assert asker(daemon).infer("paint", {"image": RED.repeat(2, axis=0)}).status == 200


HANGING = {"cpu0": {"use": "tests.edge.daemon_builder:HangingCpu"}}


def test_whoever_waits_when_the_daemon_stops_is_told(box):
    with peer(box, devices=HANGING) as daemon:
        client, answers = asker(daemon), []
        thread = threading.Thread(
            target=lambda: answers.append(client.infer("paint", {"image": RED.repeat(2, axis=0)}))
        )
        thread.start()
        assert within(lambda: daemon.parts.world.open)
        last = daemon.stop()
        thread.join(20)
    assert [answer.status for answer in answers] == [503]
    assert answers[0].table["error"].startswith("stopped")
    assert add_up(last["frames"])
    assert last["frames"]["waiting"] == 0


def test_who_hangs_up_waits_no_longer(box):
    """The row that runs cannot be taken back; the others are withdrawn."""
    with peer(
        box, devices=HANGING, policy={"use": "edge.policies.edf:EarliestDeadlineFirst", "batch_max": 1}
    ) as daemon:
        client = asker(daemon)
        message = packed({}, "inputs", {"image": RED.repeat(3, axis=0)})
        client.connection.request("POST", "/v2/models/paint/infer", message.body, message.headers())
        assert within(lambda: len(daemon.parts.world.open) == 3)
        client.connection.close()
        assert within(lambda: len(daemon.parts.world.open) == 1)
        last = daemon.stop()
    assert last["streams"]["http/paint"]["dropped"]["withdrawn"] == 2
    assert add_up(last["frames"])


# ---- promotions


def test_after_a_promotion_the_new_version_answers_and_the_graph_stays(box):
    with peer(box) as daemon:
        client = asker(daemon)
        repository = Repository(box / "repository")
        first, _ = stages_of(repository, "paint")
        name = swapped(repository)
        repository.serve("paint", name)
        assert within(lambda: client.ask("/v2/models/paint").table["versions"] == [name])
        said = client.infer("paint", {"image": RED})
        assert said.table["model_version"] == name
        assert said.tensors["logits"].argmax() == 2, "red is called blue now"
        assert client.infer(first.graph, {"image": RED}).status == 200
        state = daemon.parts.scheduler.state
        assert {model for model in state.models if model.startswith("http/paint/")} == {"http/paint/0", "http/paint/1"}
        assert not [app for app in daemon.parts.scheduler.answers if app.startswith("http/")]


def test_a_version_that_does_not_serve_can_be_asked_where_it_is_on_offer(box):
    repository = Repository(box / "repository")
    name = swapped(repository)
    policy = {"use": "edge.policies.edf:EarliestDeadlineFirst"}  # chooses no variant where none was asked for
    with peer(box, variants={"paint": [name]}, policy=policy) as daemon:
        client = asker(daemon)
        assert client.ask("/v2/models/paint").table["versions"] == ["fp32", name]
        said = client.ask(f"/v2/models/paint/versions/{name}/infer", packed({}, "inputs", {"image": RED}))
        assert said.table["model_version"] == name
        assert said.tensors["logits"].argmax() == 2
        assert client.infer("paint", {"image": RED}).table["model_version"] == "fp32"
        assert f"http/paint@{name}" in daemon.parts.scheduler.answers


def test_an_app_with_the_name_of_a_model_does_not_stand_in_its_way(box):
    with peer(box, apps={**APPS, "paint": CASCADE}) as daemon:
        said = asker(daemon).infer("paint", {"image": RED})
        assert (said.status, [*said.tensors]) == (200, ["logits", "features"])
        assert "http/paint" in daemon.parts.scheduler.answers


def test_a_trace_with_questions_in_it_can_be_replayed_and_rehearsed(box):
    with peer(box, trace="trace.jsonl") as daemon:
        client = asker(daemon)
        first, _ = stages_of(Repository(box / "repository"), "paint")
        for _ in range(3):
            assert client.infer("paint", {"image": RED}).status == 200
            assert client.infer(first.graph, {"image": RED}).status == 200
    settings = load(box / "edge.yaml")
    policy = complete(settings.policy.build(), step_ms=settings.background.step_ms)
    answers = {name: app.build() for name, app in settings.apps.items()}
    lines = (box / "trace.jsonl").read_text().splitlines()
    assert replay(lines, policy, answers, settings.estimator.build()) == len(lines)
    assert len(scenario_of(box / "trace.jsonl", answers).requests) == 6


# ---- begin and end


def test_a_port_that_is_taken_is_one_line(box, shared):
    taken = shared[1].http.port
    with (
        pytest.raises(UserError, match=f"127.0.0.1:{taken}: Address already in use; name another port"),
        peer(box, http={"port": taken}),
    ):
        pass


def test_an_answer_does_not_wait_for_an_acknowledgement(shared):
    """What is accepted inherits the option; without it head and body of an answer are 40 ms apart."""
    assert shared[1].http.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_without_the_key_nobody_listens(box):
    with Daemon(edge(box)) as daemon:
        assert not [source for source in daemon.parts.sources if isinstance(source, HttpSource)]
        assert daemon.answered(jpeg("red"))
        assert not [model for model in daemon.parts.scheduler.state.models if "/" in model]


def test_the_slo_of_an_app_is_the_deadline_of_its_model(box):
    apps = {**APPS, "fast": {"use": "edge.answers.single:Single", "model": "paint", "slo_ms": 300, "priority": 2}}
    with peer(box, apps=apps) as daemon:
        client, asked = asker(daemon), []
        began = time.monotonic_ns()
        ask = daemon.parts.world.ask
        daemon.parts.world.ask = lambda row: asked.append(row) or ask(row)  # type: ignore[method-assign]
        assert client.infer("paint", {"image": RED}).status == 200
        assert client.infer("tint", {"image": RED[:, :, :8, :8]}).status == 200
        assert client.infer("tint", {"image": RED[:, :, :8, :8]}, parameters={"timeout": 700_000}).status == 200
    assert [(row.deadline_ns - row.arrived_ns, row.priority) for row in asked] == [
        (300_000_000, 2), (1_000_000_000, 0), (700_000_000, 0),
    ]  # fmt: skip
    assert all(row.arrived_ns >= began for row in asked)


def test_a_server_that_dies_is_a_fault_and_not_ready(monkeypatch, tmp_path):
    inbox, source, die = KeepingInbox(repository=Repository(tmp_path)), HttpSource(port=0), threading.Event()

    def run(sockets):
        die.wait(10)
        raise OSError("out of descriptors")

    monkeypatch.setattr(source, "_server", lambda: SimpleNamespace(run=run, should_exit=False))
    source.start(inbox)
    assert source.ready()
    die.set()
    assert within(lambda: [(who, str(error)) for who, error in inbox.faults] == [(source, "out of descriptors")])
    assert not source.ready()
    source.stop()


def test_a_daemon_that_stops_is_not_ready(tmp_path):
    inbox, source = KeepingInbox(repository=Repository(tmp_path)), HttpSource(port=0)
    source.prepare(inbox)
    assert not source.ready()
    source.start(inbox)
    assert source.ready()
    inbox.draining = True
    assert not source.ready()
    source.stop()
