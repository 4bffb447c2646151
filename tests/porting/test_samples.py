"""Labelled pictures from zips and folders."""

import zipfile

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from porting.errors import UserError
from porting.samples import blocks_of, read_samples


def jpeg(value):
    return simplejpeg.encode_jpeg(np.full((8, 8, 3), value, np.uint8), quality=95)


@pytest.fixture(params=["folder", "zip"])
def written(request, tmp_path):
    """Writes files by name into a folder or a zip; returns its path."""

    def write(files):
        if request.param == "zip":
            with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
                for name, content in files.items():
                    archive.writestr(name, content)
            return tmp_path / "s.zip"
        for name, content in files.items():
            (tmp_path / "s" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "s" / name).write_bytes(content)
        return tmp_path / "s"

    return write


def test_folders_are_labels_in_alphabetical_order_and_names_are_time(written):
    path = written(
        {"dog/2.jpg": jpeg(20), "cat/1.jpg": jpeg(10), "cat/3.JPG": jpeg(30), "readme.txt": b"", "top.jpg": b""}
    )
    samples, labels = read_samples(path)
    assert labels == ("cat", "dog")
    assert samples.labels.tolist() == [0, 1, 0]
    assert [round(float(image.mean()), -1) for image in samples.images] == [10, 20, 30]


def test_streams_and_frames_come_from_the_names(written):
    names = ["a/stream-2__000001.jpg", "b/stream-1__10__x.jpg", "a/stream-1__2.jpg"]
    samples, _ = read_samples(written({name: jpeg(9) for name in names}))
    assert samples.stream.tolist() == [1, 1, 2]
    assert samples.labels.tolist() == [0, 1, 0]
    assert samples.block.tolist() == [0, 0, 1]


def test_given_labels_set_the_order_and_unknown_folders_are_refused(written):
    path = written({"b/1.jpg": jpeg(1), "a/2.jpg": jpeg(2)})
    assert read_samples(path, ("b", "c", "a"))[0].labels.tolist() == [0, 2]
    with pytest.raises(UserError, match="folder 'a' is none of the labels b, c"):
        read_samples(path, ("b", "c"))


def test_a_limit_is_spread_over_the_classes(written):
    files = {f"common/{i:03}.jpg": jpeg(1) for i in range(30)} | {f"rare/{i}.jpg": jpeg(2) for i in range(3)}
    samples, _ = read_samples(written(files), limit=10, size=(4, 4))
    assert np.bincount(samples.labels).tolist() == [5, 3]
    assert samples.images[0].shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("files", "said"), [({"x.txt": b"x"}, "no JPEG or PNG"), ({"a/bad.jpg": jpeg(1)[:200]}, r"a/bad\.jpg: JPEG")]
)
def test_slips_name_the_file(written, files, said):
    with pytest.raises(UserError, match=said):
        read_samples(written(files))


def test_neither_folder_nor_zip(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK no zip")
    for path in (tmp_path / "none", tmp_path / "x.zip"):
        with pytest.raises(UserError, match="neither a folder nor a zip"):
            read_samples(path)


@given(st.lists(st.integers(0, 2), max_size=60), st.integers(1, 7))
def test_a_block_is_short_and_of_one_stream(streams, length):
    stream = np.array(sorted(streams), np.int64)
    blocks = blocks_of(stream, length)
    assert (np.diff(blocks) >= 0).all()
    for block in set(blocks.tolist()):
        rows = stream[blocks == block]
        assert 1 <= len(rows) <= length
        assert len(set(rows.tolist())) == 1
