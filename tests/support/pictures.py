"""Pictures that are looked at, not only recognised by their first bytes."""

from __future__ import annotations

import io


def assert_drawn(png: bytes) -> None:
    """A whole PNG, of a size that can be read, with lines on its ground: neither blank nor painted over."""
    from matplotlib.image import imread

    pixels = imread(io.BytesIO(png), format="png")
    height, width = pixels.shape[:2]
    assert min(height, width) >= 200, pixels.shape
    ink = (pixels[..., :3] < 0.9).any(axis=-1).mean()
    assert 0.001 < ink < 0.9, f"{ink:.1%} of the picture is drawn on"
