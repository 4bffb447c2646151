"""Pictures: decoded or refused, prepared as the spec says."""

import contextlib

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from porting.errors import BadImage
from porting.images import decode, prepare, resize
from porting.variant import InputSpec

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
JPEG = simplejpeg.encode_jpeg(PICTURE, quality=95)
PNG = cv2.imencode(".png", PICTURE[:, :, ::-1])[1].tobytes()


def test_png_comes_back_exactly_as_rgb():
    assert np.array_equal(decode(PNG), PICTURE)


def test_jpeg_keeps_its_colours_in_rgb_order():
    red = np.zeros((16, 16, 3), np.uint8)
    red[:, :, 0] = 250
    r, g, b = decode(simplejpeg.encode_jpeg(red, quality=95)).reshape(-1, 3).mean(axis=0)
    assert r > 230
    assert max(g, b) < 20


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "neither JPEG nor PNG"),
        (b"hello", "neither JPEG nor PNG"),
        (JPEG[: len(JPEG) // 2], "JPEG of"),
        (JPEG[:4], "JPEG of"),
        (PNG[: len(PNG) // 2], "truncated"),
        (PNG[:20], "truncated"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_reason(payload, said):
    with pytest.raises(BadImage, match=said):
        decode(payload)


def test_limits_are_checked_before_pixels_are_decoded():
    with pytest.raises(BadImage, match="more than the 10 allowed"):
        decode(JPEG, bytes_max=10)
    for payload in (JPEG, PNG):
        with pytest.raises(BadImage, match="32x24"):
            decode(payload, pixels_max=100)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(JPEG) - 1), st.integers(0, 255), st.integers(1, len(JPEG)))
def test_a_damaged_jpeg_is_a_picture_or_a_bad_image_and_nothing_else(at, byte, length):
    damaged = bytearray(JPEG[:length])
    if at < length:
        damaged[at] = byte
    with contextlib.suppress(BadImage):
        assert decode(bytes(damaged), pixels_max=10**6).ndim == 3


def test_prepare_follows_the_formula_in_both_layouts():
    options = {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    expected = (PICTURE / 255 - np.array(options["mean"])) / np.array(options["std"])
    flat = prepare(PICTURE, InputSpec("x", 32, 24, layout="NHWC", **options))
    planes = prepare(PICTURE, InputSpec("x", 32, 24, **options))
    assert flat.dtype == planes.dtype == np.float32
    np.testing.assert_allclose(flat, expected, atol=1e-5)
    np.testing.assert_allclose(planes, expected.transpose(2, 0, 1), atol=1e-5)


def test_colour_orders():
    rgb = prepare(PICTURE, InputSpec("x", 32, 24, scale=1.0))
    bgr = prepare(PICTURE, InputSpec("x", 32, 24, scale=1.0, color="bgr"))
    gray = prepare(PICTURE, InputSpec("x", 32, 24, scale=1.0, color="gray"))
    assert np.array_equal(rgb, bgr[::-1])
    assert gray.shape == (1, 24, 32)
    np.testing.assert_allclose(gray[0], PICTURE @ np.array([0.299, 0.587, 0.114]), atol=1)


def test_integer_models_get_the_picture_as_it_is():
    out = prepare(PICTURE, InputSpec("x", 32, 24, layout="NHWC", dtype="uint8", mean=(9.0,)))
    assert out.dtype == np.uint8
    assert np.array_equal(out, PICTURE)


@pytest.mark.parametrize(("width", "height"), [(8, 6), (64, 48), (32, 24), (16, 48)])
def test_resize_gives_the_size_and_keeps_flat_areas(width, height):
    flat = np.full((24, 32, 3), 77, np.uint8)
    assert np.array_equal(resize(flat, width, height), np.full((height, width, 3), 77, np.uint8))
