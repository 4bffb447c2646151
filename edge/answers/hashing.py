"""Draws chance that can be repeated: a hash of a seed and of what it is drawn for."""

from hashlib import blake2b


def hash_uniform(seed: int, *drawn_for: object) -> float:
    """Returns a number uniform in [0, 1): the same on every machine, in whatever order it is drawn."""
    digest = blake2b(repr((seed, *drawn_for)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)
