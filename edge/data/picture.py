"""Decodes a frame on first use, on a lane, and shares its pixels between all models that look at it."""

from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from porting.images import decode

Pixels = NDArray[np.uint8]  # [height, width, 3], RGB
MARGIN = 0.1  # a crop is its box grown by this share of each side: classifiers were trained on the same


class Picture:
    """Holds either JPEG bytes that wait to be decoded, or pixels. `decode_ns`: how long decoding took, 0 before."""

    __slots__ = ("_payload", "_pixels", "decode_ns")

    def __init__(self, payload: bytes | None = None, pixels: Pixels | None = None):
        assert (payload is None) != (pixels is None)
        self._payload, self._pixels = payload, pixels
        self.decode_ns = 0

    def pixels(self) -> Pixels:
        """Returns RGB [height, width, 3], uint8. Raises `BadImage` where the bytes are no picture or are cut short."""
        payload = self._payload  # read first: two lanes may decode the same frame, and the quicker one lets go of it
        if self._pixels is None:
            assert payload is not None
            began = perf_counter_ns()
            self._pixels = decode(payload)
            self.decode_ns, self._payload = perf_counter_ns() - began, None
        return self._pixels


def crop(pixels: Pixels, box: tuple[float, float, float, float]) -> Pixels:
    """Returns a view of the pixels under a box (x1, y1, x2, y2 in pixels) with a margin; at least one pixel."""
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = box
    grow_x, grow_y = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
    left, top = max(0, int(x1 - grow_x)), max(0, int(y1 - grow_y))
    right, bottom = min(width, int(x2 + grow_x) + 1), min(height, int(y2 + grow_y) + 1)
    left, top = min(left, width - 1), min(top, height - 1)
    return pixels[top : max(bottom, top + 1), left : max(right, left + 1)]
