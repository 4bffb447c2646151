"""Decodes image files, resizes pictures and prepares input tensors; porting, serving and drift all use `prepare`."""

from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from porting.errors import BadImage as BadImage
from porting.variant import InputSpec

Image = NDArray[np.uint8]  # [h, w, 3], RGB

BYTES_MAX = 32 * 1024 * 1024
PIXELS_MAX = 32 * 1024 * 1024
_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"


def decode(payload: bytes, *, bytes_max: int = BYTES_MAX, pixels_max: int = PIXELS_MAX) -> Image:
    """Decodes the bytes of a JPEG or PNG file to RGB uint8 [h, w, 3].

    Raises:
        BadImage: empty, too big, truncated, or neither JPEG nor PNG. The size is checked before any pixel is decoded.
    """
    if len(payload) > bytes_max:
        raise BadImage(f"image of {len(payload)} bytes: more than the {bytes_max} allowed")
    if payload[:3] == _JPEG:
        return _decode_jpeg(payload, pixels_max)
    if payload[:8] == _PNG:
        return _decode_png(payload, pixels_max)
    raise BadImage(
        f"image of {len(payload)} bytes: neither JPEG nor PNG (starts with {payload[:4].hex() or 'nothing'})"
    )


def _decode_jpeg(payload: bytes, pixels_max: int) -> Image:
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(payload)
        _check_pixels(width, height, pixels_max)
        return np.asarray(simplejpeg.decode_jpeg(payload, colorspace="RGB"), np.uint8)
    except ValueError as error:
        raise BadImage(f"JPEG of {len(payload)} bytes: {_one_line(error)}") from None


def _decode_png(payload: bytes, pixels_max: int) -> Image:
    if len(payload) < 24:
        raise BadImage(f"PNG of {len(payload)} bytes: truncated")
    width, height = int.from_bytes(payload[16:20], "big"), int.from_bytes(payload[20:24], "big")
    _check_pixels(width, height, pixels_max)
    image = None
    try:
        image = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise BadImage(f"PNG of {len(payload)} bytes: {_one_line(error)}") from None
    # OpenCV gives what it could read of a cut PNG; the end chunk tells whether that was all of it.
    if image is None or b"IEND" not in payload[-16:]:
        raise BadImage(f"PNG of {len(payload)} bytes: truncated or damaged")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _check_pixels(width: int, height: int, pixels_max: int) -> None:
    if not 0 < width * height <= pixels_max:
        raise BadImage(f"image of {width}x{height} pixels: at most {pixels_max} pixels are allowed")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def resize(image: Image, width: int, height: int) -> Image:
    """Resizes to width x height pixels: area average when shrinking (no aliasing), linear when
    growing. The aspect ratio is not kept.
    """
    h, w = image.shape[:2]
    if (w, h) == (width, height):
        return image
    method = cv2.INTER_AREA if width <= w and height <= h else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), dtype=np.uint8)


def prepare(image: Image, spec: InputSpec) -> NDArray[Any]:
    """Turns an RGB uint8 [h, w, 3] picture of any size into one input tensor without its batch dimension.

    The picture is resized, its colours are put in the order of the spec, and each channel becomes `(x * scale - mean) /
    std` with x in 0..255. The result is C-contiguous, of type `spec.dtype` and shape [C, height, width] or [height,
    width, C]. For integer types the pixels are not scaled.
    """
    pixels = _colored(resize(image, spec.width, spec.height), spec.color)
    if np.dtype(spec.dtype).kind in "ui":
        return np.ascontiguousarray(_laid_out(pixels, spec.layout), dtype=spec.dtype)
    channels = pixels.shape[2]
    std = np.resize(np.asarray(spec.std, np.float32), channels)
    gain = np.float32(spec.scale) / std
    offset = -np.resize(np.asarray(spec.mean, np.float32), channels) / std
    if spec.layout == "NHWC":
        row = pixels.reshape(spec.height, spec.width * channels)  # long rows: many times faster than rows of three
        flat = row * np.tile(gain, spec.width) + np.tile(offset, spec.width)
        return np.asarray(flat.reshape(spec.height, spec.width, channels), spec.dtype)
    out = np.empty((channels, spec.height, spec.width), np.float32)
    for channel in range(channels):  # three planes written once each: half the time of transposing the whole
        np.multiply(pixels[:, :, channel], gain[channel], out=out[channel])
        out[channel] += offset[channel]
    return np.asarray(out, spec.dtype)


def _colored(image: Image, color: str) -> Image:
    if color == "gray":
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)[:, :, None]
    return image[:, :, ::-1] if color == "bgr" else image


def _laid_out(pixels: Image, layout: str) -> Image:
    return pixels if layout == "NHWC" else pixels.transpose(2, 0, 1)
