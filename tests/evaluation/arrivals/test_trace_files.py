"""Files of all kinds, read back as they were written; and what is wrong with one, with its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.answers.cascade import Cascade
from evaluation.arrivals.request import Arrival, by_time
from evaluation.arrivals.trace_files import Limits, limits_of, read
from evaluation.scenario import MS, affine
from porting.errors import UserError
from tests.evaluation.arrivals.trace_writer import text_of

TRACES = Path(__file__).parents[4] / "shared/data/traces"
needs_traces = pytest.mark.skipif(not TRACES.exists(), reason=f"{TRACES} is not there")

NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\x85\u2028\u2029"), min_size=1)
ARRIVALS = st.lists(
    st.builds(
        Arrival, st.integers(0, 1 << 61), NAMES, NAMES, st.none() | st.integers(1, 1 << 45), st.integers(1, 10_000)
    ),
    min_size=1,
)


@given(ARRIVALS)
def test_what_was_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, arrivals: list[Arrival]) -> None:
    path = tmp_path_factory.mktemp("trace") / "trace.csv"
    path.write_text(text_of(arrivals))
    assert list(read(path, limits=Limits(hole_s=1e12)).arrivals) == by_time(arrivals)
    assert text_of(reversed(by_time(arrivals))) == text_of(arrivals)


def written(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_columns_that_are_left_out_and_cells_that_are_empty(tmp_path: Path) -> None:
    path = written(tmp_path, "model,arrival_ns,slo_ms\nmob,5,12.5\nmob,7,\n")
    assert read(path).arrivals == (Arrival(5, "mob", "mob", 12_500_000), Arrival(7, "mob", "mob", None))


HEAD = "arrival_ns,stream,model,slo_ms,size\n"
SERVED = (affine("mob", 1, 4), affine("yolo", 4, 6))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "5,a,mob,50,1\n3,a,mob,50,1\n", "trace.csv:3: arrival at 3 ns after one at 5 ns; sort"),
        (HEAD + "-5,a,mob,50,1\n", "trace.csv:2: arrival_ns is '-5'; expected a whole number"),
        (HEAD + "1e9,a,mob,50,1\n", "trace.csv:2: arrival_ns is '1e9'; expected a whole number"),
        (HEAD + "5,a,mob,soon,1\n", "trace.csv:2: slo_ms is 'soon'; expected a number"),
        (HEAD + "5,a,mob,nan,1\n", "trace.csv:2: slo_ms is 'nan'"),
        (HEAD + "5,a,mob,0,1\n", "trace.csv:2: slo_ms is '0'"),
        (HEAD + "5,a,mob,50,0\n", "trace.csv:2: size is '0'; expected a whole number, 1 or more"),
        (HEAD + "5,a,mob,50,99999\n", "trace.csv:2: 99999 requests at one instant"),
        (HEAD + "5,a,mob,50\n", "trace.csv:2: not as many cells"),
        (HEAD + "5,a,mob,50,1,2\n", "trace.csv:2: not as many cells"),
        (HEAD + "5,a,cat,50,1\n", "trace.csv:2: no model is called 'cat'; there is junction, mob, yolo"),
        (HEAD + "5,a,yolo,9,1\n", "trace.csv:2: 'yolo' within 9 ms cannot be: alone on an idle lane it takes 10 ms"),
        (HEAD + "5,a,junction,9,1\n", "trace.csv:2: 'junction' within 9 ms cannot be"),
        (HEAD, "trace.csv: no arrivals in it"),
        ("", "trace.csv: empty"),
        ("arrival_ns,model,colour\n", "trace.csv:1: columns arrival_ns, model, colour; expected arrival_ns,stream"),
        ("hello, world\n", "trace.csv:1: 'hello, world' begins no trace; expected our CSV"),
        ("12\nx\n", "trace.csv:2: the gap in µs is 'x'"),
        ("12\n-3\n", "trace.csv:2: the gap in µs is '-3'"),
        ('{"now":0,"event":[]}\n', "a trace of the daemon"),
        ('{"tasks": 3}', "has a list `tasks`"),
        ('{"tasks": [', "trace.csv:1: not JSON"),
        ("TIMESTAMP,a,b\nyesterday,1,2\n", "trace.csv:2: 'yesterday' is no time"),
        ("TIMESTAMP,a\n2023-11-16 18:17:04.0,1\n2023-11-16 18:17:03.9,1\n", "trace.csv:3: before the first line"),
    ],
)
def test_what_is_wrong_with_a_file_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    limits = limits_of(SERVED, {"junction": Cascade("yolo", {"car": "mob"})})
    with pytest.raises(UserError) as caught:
        read(written(tmp_path, text), model="mob", limits=limits)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read(tmp_path / "nowhere.csv")
    (tmp_path / "picture.csv").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UserError, match="byte 0 is no UTF-8"):
        read(tmp_path / "picture.csv")


def test_silence_is_noted_and_no_error(tmp_path: Path) -> None:
    rows = "".join(f"{at * 20_000_000_000},a,mob,50,1\n" for at in range(6))
    found = read(written(tmp_path, HEAD + rows))
    assert len(found.arrivals) == 6
    assert found.notes[0].endswith("trace.csv:3: nothing for 20.0 s before it")
    assert found.notes[-1] == "and 2 more such holes"


def test_gaps_of_perf_analyzer_add_up(tmp_path: Path) -> None:
    path = written(tmp_path, "100\n0.5\n\n1000\n", "gaps.txt")
    found = read(path, model="mob", slo_ms=50).arrivals
    assert [each.arrived_ns for each in found] == [100_000, 100_500, 1_100_500]
    assert found[0] == Arrival(100_000, "gaps", "mob", 50 * MS)


def test_times_of_azure_count_from_the_first(tmp_path: Path) -> None:
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:59:59.9799600,4808,10\r\n2023-11-16 19:00:00,3,8"
    found = read(written(tmp_path, text, "azure.csv"), model="llm").arrivals
    assert found == (Arrival(0, "azure", "llm", None), Arrival(20_040_000, "azure", "llm", None))


DISB = """{"time": 2, "tasks": [
 {"id": "a", "load": {"type": "periodic", "frequency": 4}, "client": {"model_name": "vgg19-imagenet"}},
 {"id": "b", "load": {"type": "trace", "trace": [0, 100, 300]}, "client": {"model_name": "bert"}},
 {"id": "c", "load": {"type": "poisson", "frequency": 50}, "client": {"model_name": "bert"}},
 {"id": "d", "load": {"type": "continuous"}, "client": {"model_name": "bert"}}]}"""


def test_every_kind_of_load_of_disb(tmp_path: Path) -> None:
    found = read(written(tmp_path, DISB, "disb.json"), seed=1)
    of = {stream: [each for each in found.arrivals if each.stream == stream] for stream in "abcd"}
    assert [each.arrived_ns // MS for each in of["a"]] == [0, 250, 500, 750, 1000, 1250, 1500, 1750]
    assert {(each.model, each.slo_ns) for each in of["a"]} == {("vgg19", 250 * MS)}
    assert [(each.arrived_ns // MS, each.slo_ns) for each in of["b"]] == [
        (0, 150 * MS),
        (100, 150 * MS),
        (300, 150 * MS),
    ]
    assert 60 < len(of["c"]) < 140
    assert not of["d"]
    assert found.notes == ("in a closed loop, so not among the arrivals: d",)
    assert list(found.arrivals) == by_time(found.arrivals)
    assert {each.slo_ns for each in read(tmp_path / "disb.json", slo_ms=80).arrivals} == {80 * MS}


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ('{"id": "a"}', "tasks[0]: expected id, load and client"),
        ("7", "tasks[0]: expected a table"),
        ('{"id": "a", "load": {"type": "spiral"}, "client": {"model_name": "m"}}', "no load is called 'spiral'"),
        (
            '{"id": "a", "load": {"type": "poisson", "frequency": "x"}, "client": {"model_name": "m"}}',
            "tasks[0].load.frequency: the rate per second is 'x'",
        ),
        (
            '{"id": "a", "load": {"type": "trace", "trace": [3, 2]}, "client": {"model_name": "m"}}',
            "tasks[0].load.trace[1]: 2 ms after 3 ms",
        ),
        ('{"id": "a", "load": {"type": "trace", "trace": []}, "client": {"model_name": "m"}}', "at least two times"),
    ],
)
def test_what_is_wrong_with_a_task_of_disb(tmp_path: Path, task: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read(written(tmp_path, f'{{"time": 2, "tasks": [{task}]}}', "disb.json"))
    assert said in str(caught.value)


def test_clients_in_a_closed_loop_alone_are_no_trace(tmp_path: Path) -> None:
    task = '{"id": "d", "load": {"type": "continuous"}, "client": {"model_name": "bert"}}'
    with pytest.raises(UserError, match="no arrivals in it; in a closed loop, so not among the arrivals: d"):
        read(written(tmp_path, f'{{"time": 2, "tasks": [{task}]}}', "disb.json"))


@needs_traces
def test_the_traces_that_are_to_be_had() -> None:
    counts = {path.name: len(read(path).arrivals) for path in sorted(TRACES.iterdir()) if path.name != "disb-B.json"}
    assert counts["azure-llm-code.csv"] == 8_819
    assert counts["azure-llm-conv.csv"] == 19_366
    assert counts["disb-real.json"] == 375 + 202 + 560 + 374 + 173
    with pytest.raises(UserError, match="closed loop"):
        read(TRACES / "disb-B.json")
