"""The wire of the Open Inference Protocol: the documents' own examples, there and back, and what is no message."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from devices.interface import TensorSpec
from devices.oip import LENGTH_HEADER, WireError, metadata_of, packed, spec_of, unpacked


def body(tables, tail=b"", key="inputs"):
    text = json.dumps({key: tables}).encode()
    return text + tail, len(text) if tail else None


def tensor(**changes):
    return {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2], **changes}


# ---- as the documents show it


def test_the_example_of_the_protocol_in_json():
    tables = [
        {"name": "input0", "shape": [2, 2], "datatype": "UINT32", "data": [1, 2, 3, 4]},
        {"name": "input1", "shape": [1], "datatype": "BOOL", "data": [True]},
    ]
    _, tensors = unpacked(*body(tables), "inputs")
    assert tensors["input0"].tolist() == [[1, 2], [3, 4]]
    assert tensors["input0"].dtype == np.uint32
    assert tensors["input1"].tolist() == [True]


def test_the_example_of_the_binary_extension():
    """19 bytes behind the JSON: four UINT32 in little-endian order, three BOOL of a byte each."""
    tables = [
        {"name": "input0", "shape": [2, 2], "datatype": "UINT32", "parameters": {"binary_data_size": 16}},
        {"name": "input1", "shape": [3], "datatype": "BOOL", "parameters": {"binary_data_size": 3}},
    ]
    tail = b"\1\0\0\0\2\0\0\0\3\0\0\0\4\1\0\0" + b"\1\0\1"
    _, tensors = unpacked(*body(tables, tail), "inputs")
    assert tensors["input0"].tolist() == [[1, 2], [3, 4 + 256]]
    assert tensors["input1"].tolist() == [True, False, True]


def test_what_goes_out_as_bytes_says_where_they_begin():
    message = packed({"id": "42"}, "outputs", {"y": np.array([[1.0, 2.0]], np.float32)})
    head = json.loads(message.body[: message.json_bytes])
    assert head == {
        "id": "42",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}],
    }
    assert message.body[message.json_bytes :] == np.array([1, 2], "<f4").tobytes()
    assert message.headers() == {"Content-Type": "application/octet-stream", LENGTH_HEADER: str(message.json_bytes)}


def test_what_goes_out_as_json_needs_no_header():
    message = packed({}, "outputs", {"y": np.array([[1, 2], [3, 4]], np.int8)}, binary=())
    assert message.json_bytes is None
    assert json.loads(message.body)["outputs"][0]["data"] == [1, 2, 3, 4]
    assert message.headers() == {"Content-Type": "application/json"}


def test_bytes_have_their_length_in_front():
    array = np.empty(2, object)
    array[:] = [b"\xff\xd8", b""]
    message = packed({}, "inputs", {"jpeg": array})
    assert message.body[message.json_bytes :] == b"\2\0\0\0\xff\xd8" + b"\0\0\0\0"
    _, back = unpacked(message.body, message.json_bytes, "inputs")
    assert back["jpeg"].tolist() == [b"\xff\xd8", b""]


def test_text_in_json_is_bytes_too():
    _, tensors = unpacked(*body([tensor(datatype="BYTES", data=["a", "ü"])]), "inputs")
    assert tensors["x"].tolist() == [b"a", "ü".encode()]


# ---- there and back


DTYPES = st.sampled_from(["bool", "uint8", "uint64", "int8", "int16", "int64", "float16", "float32", "float64"])
TENSORS = st.dictionaries(
    st.text(min_size=1, max_size=5),
    DTYPES.flatmap(
        lambda dtype: arrays.arrays(
            dtype,
            arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
            elements=None if dtype[0] != "f" else {"allow_nan": False, "allow_infinity": False},
        )
    ),
    min_size=1,
    max_size=3,
)


@given(tensors=TENSORS, as_bytes=st.booleans())
def test_there_and_back_nothing_changes(tensors, as_bytes):
    message = packed({"id": "1"}, "inputs", tensors, None if as_bytes else ())
    head, back = unpacked(message.body, message.json_bytes, "inputs")
    assert head["id"] == "1"
    assert list(back) == list(tensors)
    for name, array in tensors.items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
        assert np.array_equal(back[name], array)


@given(st.binary(max_size=60), st.none() | st.integers(-1, 70))
def test_rubbish_is_refused_in_one_line(content, length):
    with pytest.raises(WireError) as caught:
        unpacked(content, length, "inputs")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", [TensorSpec("x", "float32", (None, 3)), TensorSpec("n", "int64", ())])
def test_metadata_there_and_back(spec):
    assert spec_of(metadata_of(spec)) == spec


# ---- what is wrong, in one line that names the tensor


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"datatype": "BF16"}, "x: datatype is 'BF16'; expected one of BOOL"),
        ({"shape": [3]}, "does not make FP32 of shape .3."),
        ({"shape": [-1]}, "expected a list of whole numbers"),
        ({"shape": "2"}, "expected a list of whole numbers"),
        ({"shape": [True, 2]}, "expected a list of whole numbers"),
        ({"data": ["1", "2"]}, "x: the data does not make FP32"),
        ({"data": [[1], [2, 3]]}, "x: the data does not make FP32"),
        ({"data": [1.5, 2], "datatype": "INT32"}, "x: the data does not make INT32"),
        ({"data": [1, 256], "datatype": "UINT8"}, "x: the data does not make UINT8"),
        ({"data": [1, 2], "parameters": {"binary_data_size": 8}}, "binary_data_size is 8, 0 bytes are left"),
        ({"parameters": 3}, "parameters: expected an object"),
        ({"name": 7}, "expected a name that no other one has"),
    ],
)
def test_a_tensor_that_is_none(changes, said):
    with pytest.raises(WireError, match=said):
        unpacked(*body([tensor(**changes)]), "inputs")


@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
@pytest.mark.parametrize("shape", [[0, 10**30], [0, 2**62, 2**62], [0, *[1] * 70]])
@pytest.mark.parametrize("given", [{"parameters": {"binary_data_size": 0}}, {"data": []}])
def test_a_shape_that_nothing_has(datatype, shape, given):
    text = json.dumps({"inputs": [{"name": "x", "datatype": datatype, "shape": shape, **given}]}).encode()
    with pytest.raises(WireError, match="x: "):
        unpacked(text, len(text), "inputs")


def test_data_must_be_there():
    table = tensor()
    del table["data"]
    with pytest.raises(WireError, match="x: has no data"):
        unpacked(*body([table]), "inputs")


def test_two_of_one_name():
    with pytest.raises(WireError, match="no other one has"):
        unpacked(*body([tensor(), tensor()]), "inputs")


@pytest.mark.parametrize(
    ("size", "tail", "said"),
    [
        (4, b"abcd", "4 bytes do not make FP32"),
        (8, b"123456789", "1 bytes are left over"),
        (9, b"12345678", "8 bytes are left"),
        ("8", b"12345678", "binary_data_size is 8"),
    ],
)
def test_bytes_that_do_not_fit(size, tail, said):
    table = {"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": size}}
    with pytest.raises(WireError, match=said):
        unpacked(*body([table], tail), "inputs")


def test_an_element_of_bytes_that_is_cut_off():
    table = {"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}
    with pytest.raises(WireError, match="longer than what is left"):
        unpacked(*body([table], b"\x09\0\0\0a"), "inputs")


def test_a_length_beyond_the_body():
    with pytest.raises(WireError, match="is 100, the body has"):
        unpacked(b"{}", 100, "inputs")


@pytest.mark.parametrize("text", [b"[]", b"{}", b'{"inputs": 3}', b'{"inputs": [3]}', b"[" * 100_000])
def test_json_of_another_shape(text):
    with pytest.raises(WireError):
        unpacked(text, None, "inputs")


def test_a_type_without_a_name_cannot_be_sent():
    with pytest.raises(WireError, match="complex64"):
        packed({}, "inputs", {"x": np.zeros(1, np.complex64)})
