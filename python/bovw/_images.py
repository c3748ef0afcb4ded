"""Images as people have them, brought into the forms that the native half knows.

An array of bytes or of float32 in C order goes through without a copy; any other numbers are copied to float32 once.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ARROW_METHODS = ("__arrow_c_stream__", "__arrow_c_array__")


def is_arrow(data: Any) -> bool:
    """Whether an object exports Arrow data."""
    return not isinstance(data, np.ndarray) and any(hasattr(data, name) for name in ARROW_METHODS)


def as_list_or_array(images: Any) -> list | np.ndarray:
    """An array ``(n, height, width, channels)``, or a list of single images and ``None``."""
    if isinstance(images, (str, bytes, bytearray, os.PathLike)):
        raise TypeError("a single image was given; bovw takes several: put it into a list")
    if isinstance(images, Mapping):
        raise TypeError("a mapping was given; bovw takes arrays, lists of images, and Arrow data")
    if isinstance(images, (list, tuple)):
        return [one(image, at) for at, image in enumerate(images)]
    if not hasattr(images, "__array__") and hasattr(images, "__iter__"):
        return [one(image, at) for at, image in enumerate(images)]
    array = np.asarray(images)
    if array.dtype == object:
        return [one(image, at) for at, image in enumerate(array.ravel())]
    if array.ndim == 3:
        array = array[..., np.newaxis]
    elif array.ndim == 4:
        array = channels_last(array, array.shape[-1], array.shape[1], 1)
    else:
        raise ValueError(
            f"images of shape {array.shape} were given; bovw takes (n, height, width) or (n, height, width, channels), "
            + _instead(array)
        )
    return numbers(array, "the images")


def one(image: Any, at: int) -> np.ndarray | bytes | None:
    """One image of a list: an array ``(height, width, channels)``, encoded bytes, or ``None``."""
    if image is None or isinstance(image, bytes):
        return image
    if isinstance(image, (bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, (str, os.PathLike)):
        return Path(image).read_bytes()
    if hasattr(image, "mode") and hasattr(image, "convert"):
        return picture(image, at)
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[..., np.newaxis]
    elif array.ndim == 3:
        array = channels_last(array, array.shape[-1], array.shape[0], 0)
    else:
        raise TypeError(
            f"image {at} is {type(image).__name__} of shape {array.shape}; bovw takes arrays (height, width) or "
            "(height, width, channels), bytes of an image file, paths, pictures of Pillow, and None"
        )
    return numbers(array, f"image {at}")


def picture(image: Any, at: int) -> np.ndarray | bytes:
    """A picture of Pillow: its pixels, or the PNG of it where the decoder knows better what they mean."""
    if image.mode in ("L", "RGB"):
        return one(np.asarray(image), at)
    if image.mode in ("1", "P", "LA", "RGBA", "I;16"):
        file = io.BytesIO()
        image.save(file, "png", compress_level=1)
        return file.getvalue()
    if image.mode in ("CMYK", "HSV", "LAB", "YCbCr"):
        return one(np.asarray(image.convert("RGB")), at)
    if image.mode in ("I", "F"):
        return one(np.asarray(image), at)
    raise TypeError(f"image {at} is a picture of mode {image.mode}; convert it to L or RGB")


def channels_last(array: np.ndarray, last: int, first: int, axis: int) -> np.ndarray:
    """The array with its channels last; as torch has them, they come first."""
    if last in (1, 2, 3, 4):
        return array
    if first in (1, 3, 4):
        return np.moveaxis(array, axis, -1)
    raise ValueError(f"images of shape {array.shape} were given: no axis of 1 to 4 channels, first or last")


def numbers(array: np.ndarray, name: str) -> np.ndarray:
    """Bytes stay bytes, all other numbers become float32; in C order."""
    kind = array.dtype.kind
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if kind == "b":
        return np.ascontiguousarray(array, dtype=np.uint8)
    if kind in "iuf":
        return np.ascontiguousarray(array, dtype=np.float32)
    raise TypeError(f"{name} have dtype {array.dtype}; bovw takes uint8, or numbers that float32 can hold")


def _instead(array: np.ndarray) -> str:
    if array.ndim == 2:
        return "so a single image is images[None], and flat rows are X.reshape(n, height, width)"
    return "so reshape them"
