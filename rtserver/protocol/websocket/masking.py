"""Masking of frames: in C where the extension is there, else in Python.

Source: RFC 6455, section 5.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING


def apply_mask_in_python(data: bytes, mask: bytes) -> bytes:
    """XOR ``data`` with the four bytes of ``mask``, over and over."""
    size = len(data)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")).to_bytes(size, "little")


if TYPE_CHECKING:
    apply_mask = apply_mask_in_python
else:
    try:
        from websockets.speedups import apply_mask
    except ImportError:  # websockets was built without its extension
        apply_mask = apply_mask_in_python

__all__ = ["apply_mask", "apply_mask_in_python"]
