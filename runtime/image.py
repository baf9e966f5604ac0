"""Image files to raw samples, with Pillow (extra ``image``). Decoding only: resizing is ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidDataError, MissingExtraError

__all__ = ["read_image"]


def read_image(path: Path) -> Array:
    """Decode an image file as FORMAT.md, section 3.1, says.

    Returns:
        uint8 ``[H, W, 1]`` for gray images, ``[H, W, 3]`` for all others: EXIF orientation
        applied, alpha composed over white, 16 bits reduced to 8.

    Raises:
        MissingExtraError: Pillow is not installed.
        InvalidDataError: The file is missing or no image.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise MissingExtraError("Pillow, which reads image files,", "image") from None
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            image.load()
            if image.mode.startswith("I"):
                return _from_deep(np.asarray(image), path)
            if image.mode == "F":
                raise ValueError("floating-point pixels; save it with 8 or 16 bits")
            if image.has_transparency_data:
                layer = image.convert("RGBA")
                white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
                image = Image.alpha_composite(white, layer).convert("RGB")
            gray = image.mode in ("1", "L")
            pixels = np.asarray(image.convert("L" if gray else "RGB"), np.uint8)
    except InvalidDataError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen kinds on damaged files
        raise InvalidDataError(
            f"{path} is not an image that can be read.", received=error, expected="an image file"
        ) from None
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _from_deep(values: Array, path: Path) -> Array:
    wide = values.astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise InvalidDataError(
            f"{path} holds values that are not 16 bits.",
            received=f"{wide.min()}..{wide.max()}",
            expected="0..65535",
        )
    return ((2 * wide + 257) // 514).astype(np.uint8)[..., None]
