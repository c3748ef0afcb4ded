"""Images to patches in float64, as the contract says it, not as `bovw` does it.

A second, plain implementation of decoding, scaling, cutting and sampling: what the checks compare `bovw` with.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageOps

MAGIC = (b"\x89PNG", b"\xff\xd8", b"RIFF", b"BM", b"GIF8", b"II*\0", b"MM\0*", b"P2", b"P5", b"P6")
ENCODED_MODES_KEPT = {"L", "F", "I", "I;16", "I;16B"}


class BadImageError(Exception):
    """A row whose image cannot be used."""


def image_column(schema: pa.Schema) -> str:
    """The column that holds the image: the one typed so for Hugging Face, else the first of binary or struct type."""
    described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    for name, feature in described.items():
        if isinstance(feature, dict) and feature.get("_type") == "Image":
            return name
    for field in schema:
        kind = field.type
        if pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return field.name
        if pa.types.is_fixed_size_binary(kind) or pa.types.is_fixed_size_list(kind):
            return field.name
    raise ValueError(f"no image column among {schema.names}")


@dataclass(frozen=True)
class Decoder:
    """Turns a value of the image column into grey pixels."""

    raw_shape: tuple[int, int] | None = None
    """Height and width of images stored as raw grey pixels; square where it is None."""

    def __call__(self, value: Any) -> NDArray[Any]:  # noqa: ANN401 - bytes, list or struct, as the shard has it
        """Grey pixels, height x width."""
        if isinstance(value, dict):
            value = value.get("bytes") or (Path(value["path"]).read_bytes() if value.get("path") else None)
        if value is None:
            raise BadImageError("missing")
        if isinstance(value, bytes) and value.startswith(MAGIC):
            return self._encoded(value)
        return self._raw(np.frombuffer(value, np.uint8) if isinstance(value, bytes) else np.asarray(value))

    def _encoded(self, data: bytes) -> NDArray[Any]:
        try:
            with Image.open(io.BytesIO(data)) as image:
                upright = ImageOps.exif_transpose(image)
                grey = upright if upright.mode in ENCODED_MODES_KEPT else upright.convert("L")
                return np.asarray(grey)
        except (OSError, ValueError, SyntaxError) as error:
            raise BadImageError(str(error)) from error

    def _raw(self, pixels: NDArray[Any]) -> NDArray[Any]:
        side = int(np.sqrt(pixels.size))
        height, width = self.raw_shape or (side, side)
        if height * width != pixels.size:
            raise BadImageError(f"{pixels.size} raw pixels are not {height}x{width}")
        return pixels.reshape(height, width)


def images_in(shard: Path, column: str | None = None, batch_rows: int = 256) -> Iterator[list[Any]]:
    """The image values of a shard in batches, so that no shard has to fit in memory."""
    with pq.ParquetFile(shard) as file:
        name = column or image_column(file.schema_arrow)
        for batch in file.iter_batches(batch_rows, columns=[name]):
            # Raw pixels come as arrays: a Python list of numbers would be many times their size.
            kind = batch.column(0).type
            is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
            if is_list:
                yield [row.values.to_numpy(zero_copy_only=False) for row in batch.column(0)]
            else:
                yield batch.column(0).to_pylist()


def scaled(pixels: NDArray[Any]) -> NDArray[np.float64]:
    """`(x - mean) / std` over the last axis, population standard deviation; zeros where that is 0.

    Whole-number pixels are summed as whole numbers, so that blank is exactly blank and only the last operations round.
    """
    if not np.issubdtype(pixels.dtype, np.integer):
        pixels = pixels.astype(np.float64)
        mean = pixels.mean(-1, keepdims=True)
        std = pixels.std(-1, keepdims=True)
        std[(pixels == pixels[..., :1]).all(-1, keepdims=True)] = 0.0
    else:
        n = pixels.shape[-1]
        whole = pixels.astype(np.int64)
        total = whole.sum(-1, keepdims=True)
        mean = total / n
        std = np.sqrt((n * (whole * whole).sum(-1, keepdims=True) - total * total).astype(np.float64)) / n
    return np.where(std == 0.0, 0.0, (pixels - mean) / np.where(std == 0.0, 1.0, std))


@dataclass(frozen=True)
class Cutter:
    """How patches are cut and prepared: `patches` of the job file."""

    height: int
    width: int
    stride: int
    normalize: str

    def __post_init__(self) -> None:
        """Refuses what this script does not know, rather than check it wrongly."""
        if self.normalize not in ("image", "patch", "none"):
            raise ValueError(f"patches.normalize = {self.normalize!r} is not known here")

    def positions(self, pixels: NDArray[Any]) -> int:
        """How many patches an image has; 0 where none fits."""
        height, width = pixels.shape
        if height < self.height or width < self.width:
            return 0
        return ((height - self.height) // self.stride + 1) * ((width - self.width) // self.stride + 1)

    def __call__(self, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """All patches of an image in row-major order, a row each."""
        if not self.positions(pixels):
            raise BadImageError(f"{pixels.shape[0]}x{pixels.shape[1]} is smaller than a patch")
        if self.normalize == "image":
            pixels = scaled(pixels.reshape(-1)).reshape(pixels.shape)
        windows = np.lib.stride_tricks.sliding_window_view(pixels, (self.height, self.width))
        patches = windows[:: self.stride, :: self.stride].reshape(-1, self.height * self.width)
        return scaled(patches) if self.normalize == "patch" else patches.astype(np.float64)


# The numbers of src/kernel/rng.rs. Arithmetic on uint64 arrays wraps, which is what is wanted.
GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
SAMPLE_PATCHES = np.uint64(0)


def _mix_state(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return _mix_state(value + GOLDEN_GAMMA)


def sample_hashes(seed: int, image: int, n_patches: int) -> NDArray[np.uint64]:
    """The hash of each patch of image number `image`: `hash(key(seed, SamplePatches, image), patch)`."""
    # One-element arrays, not scalars: NumPy warns when a scalar wraps.
    seed_mixed = _mix(np.array([seed], np.uint64))
    key = _mix(_mix(seed_mixed + (SAMPLE_PATCHES + np.uint64(1))) + np.array([image], np.uint64))
    return _mix_state(key + (np.arange(n_patches, dtype=np.uint64) + np.uint64(1)) * GOLDEN_GAMMA)


def sampled(seed: int, image: int, n_patches: int, share: float) -> NDArray[np.intp]:
    """Indices of the sampled patches: the `floor(share * n)` with the smallest hashes, in the order of the hashes."""
    count = int(share * n_patches)
    return np.argsort(sample_hashes(seed, image, n_patches), kind="stable")[:count]
