"""The labelled samples of a site: in order, repeatable, and never frames of the run itself."""

import zipfile

from examples.junction.drawing import PERSONS, VEHICLES
from examples.junction.samples import write_samples
from examples.junction.scene import Junction
from porting.samples import read_samples


def test_samples_can_be_read_as_port_reads_them(tmp_path):
    paths = write_samples(tmp_path, seed=7, cameras=2, seconds=30)
    for model, labels in (("vehicles", VEHICLES), ("persons", PERSONS)):
        samples, names = read_samples(paths[model])
        assert names == labels
        assert len(samples.images) > 60
        assert {image.shape for image in samples.images} == {(32, 32, 3)}
        assert set(samples.stream.tolist()) == {0, 1}
        assert len(set(samples.block.tolist())) > 5


def test_same_seed_same_bytes(tmp_path):
    first, second = (write_samples(tmp_path / name, seed=3, cameras=1, seconds=8) for name in "ab")
    assert {m: p.read_bytes() for m, p in first.items()} == {m: p.read_bytes() for m, p in second.items()}


def test_names_give_stream_and_time(tmp_path):
    with zipfile.ZipFile(write_samples(tmp_path, cameras=1, seconds=5)["persons"]) as archive:
        assert all(name.split("/")[1].startswith("stream-0__0") for name in archive.namelist())


def test_samples_are_taken_before_the_run():
    junction = Junction(0, 7, fps=2.0)
    earlier = {one["track"] for index in range(-120, -60) for one in junction.frame(index)[1]}
    later = {one["track"] for index in range(60) for one in junction.frame(index)[1]}
    assert earlier
    assert not earlier & later
