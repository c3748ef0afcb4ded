#!/usr/bin/env python3
"""Makes data/digits/: scikit-learn's bundled handwritten digits as Parquet shards in Hugging Face's image layout.

The repository carries the result; this script says where it came from and makes it again, byte for byte, with the
versions in requirements-readers.txt:

    scripts/venv readers -- python scripts/make_digits.py
"""

import hashlib
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.datasets import load_digits

OUT = Path(__file__).resolve().parent.parent / "data" / "digits"
N_SHARDS = 4
# Several groups a shard, because readers and resuming work by row group, and one group would never exercise that.
ROWS_PER_GROUP = 150

HF_FEATURES = {
    "image": {"_type": "Image"},
    "label": {"names": [str(digit) for digit in range(10)], "_type": "ClassLabel"},
    "id": {"dtype": "int64", "_type": "Value"},
}

SCHEMA = pa.schema(
    [
        pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        pa.field("label", pa.int64()),
        pa.field("id", pa.int64()),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": HF_FEATURES}})},
)


def grey_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encodes a grey image with a stored (level 0) deflate stream, so that no zlib version can change a byte."""
    height, width = pixels.shape
    scanlines = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(scanlines, 0))
        + chunk(b"IEND", b"")
    )


def digits_table() -> pa.Table:
    """All digits in scikit-learn's order, their grey values 0..16 stretched to 0..255."""
    digits = load_digits()
    images = np.rint(digits.images * 255 / 16).astype(np.uint8)
    rows = [{"bytes": grey_png(image), "path": f"{index:04d}.png"} for index, image in enumerate(images)]
    columns = [pa.array(rows, SCHEMA.field("image").type), pa.array(digits.target, pa.int64()), np.arange(len(images))]
    return pa.table(columns, schema=SCHEMA)


def write_shard(table: pa.Table, path: Path) -> None:
    """Writes as `datasets` does: image bytes plain and uncompressed, which a memory map can hand on without a copy."""
    pq.write_table(
        table,
        path,
        row_group_size=ROWS_PER_GROUP,
        compression={"image.bytes": "none", "image.path": "none", "label": "snappy", "id": "snappy"},
        use_dictionary=["label", "id"],
        write_page_index=True,
    )


def main() -> None:
    """Writes the shards and prints their checksums in the form that `sha256sum --check` takes."""
    table = digits_table()
    OUT.mkdir(parents=True, exist_ok=True)
    for shard, rows in enumerate(np.array_split(np.arange(len(table)), N_SHARDS)):
        path = OUT / f"digits-{shard:05d}-of-{N_SHARDS:05d}.parquet"
        write_shard(table.slice(rows[0], len(rows)), path)
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}")


if __name__ == "__main__":
    main()
