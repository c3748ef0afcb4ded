#!/usr/bin/env python3
"""Makes the seeds of fuzz/corpus: a small file of each kind and layout that bovw takes.

The repository carries the result; this script says where it came from and makes it again, with the versions in
requirements-readers.txt and a built bovw:

    cargo build --release && scripts/venv readers -- python scripts/make_fuzz_seeds.py
"""

import gzip
import io
import json
import os
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "fuzz" / "corpus"
BOVW = Path(os.environ.get("BOVW", ROOT / "target" / "release" / "bovw"))

GOOD_SHARD_SECONDS = 1_700_000_000
"""The time that fuzz/src/targets.rs gives its good shard."""

JOB = (ROOT / "fuzz" / "job.toml").read_text()
"""The job of fuzz/src/targets.rs."""


def picture(seed: int, height: int = 6, width: int = 5) -> NDArray[np.uint8]:
    """Pixels with edges and slopes."""
    y, x = np.mgrid[:height, :width]
    return (((x * 29 + y * 17 + seed * 13) ^ ((x * y + 1) * (seed + 3) * 7)) % 256).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as a file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def images() -> Iterator[tuple[str, bytes]]:
    """Every format and most of the ways to store it."""
    grey = Image.fromarray(picture(1, 8, 9))
    colour = Image.fromarray(np.stack([picture(i, 8, 9) for i in range(3)], axis=-1))
    alpha = colour.copy()
    alpha.putalpha(grey)
    deep = Image.fromarray(picture(1, 8, 9).astype(np.uint16) * 257)
    few = colour.quantize(4)
    black_and_white = grey.convert("1")
    turned = Image.Exif()
    turned[0x0112] = 6

    yield "grey.png", encoded(grey, "PNG")
    yield "colour.png", encoded(colour, "PNG", exif=turned)
    yield "alpha.png", encoded(alpha, "PNG")
    yield "deep.png", encoded(deep, "PNG")
    yield "palette.png", encoded(few, "PNG", transparency=0)
    yield "bits.png", encoded(black_and_white, "PNG")
    yield "moving.png", encoded(colour, "PNG", save_all=True, append_images=[colour.rotate(90)])
    yield "grey.jpg", encoded(grey, "JPEG")
    yield "colour.jpg", encoded(colour, "JPEG", exif=turned, optimize=True)
    yield "progressive.jpg", encoded(colour, "JPEG", progressive=True, restart_marker_blocks=1)
    yield "cmyk.jpg", encoded(colour.convert("CMYK"), "JPEG")
    yield "lossy.webp", encoded(colour, "WEBP")
    yield "lossless.webp", encoded(alpha, "WEBP", lossless=True, exif=turned)
    yield "lossy-alpha.webp", encoded(alpha, "WEBP")
    yield "moving.webp", encoded(colour, "WEBP", save_all=True, append_images=[grey.convert("RGB")])
    yield "one.gif", encoded(few, "GIF", interlace=1)
    yield "moving.gif", encoded(few, "GIF", save_all=True, append_images=[few.rotate(90)])
    yield "grey.bmp", encoded(grey, "BMP")
    yield "colour.bmp", encoded(colour, "BMP")
    yield "bits.bmp", encoded(black_and_white, "BMP")
    yield "runs.bmp", run_length_bmp()
    yield "grey.tiff", encoded(grey, "TIFF")
    yield "deep.tiff", encoded(deep, "TIFF")
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield f"{compression}.tiff", encoded(colour, "TIFF", compression=compression)
    yield "group4.tiff", encoded(black_and_white, "TIFF", compression="group4")
    yield "float.tiff", encoded(Image.fromarray(picture(2).astype(np.float32) / 3), "TIFF")
    yield "grey.pgm", encoded(grey, "PPM")
    yield "colour.ppm", encoded(colour, "PPM")
    yield "bits.pbm", encoded(black_and_white, "PPM")
    yield "plain.pgm", b"P2\n# a comment\n3 2\n255\n0 1 2\n253 254 255\n"
    yield "plain.pbm", b"P1 3 2 1 0 1 0 1 0\n"
    yield "deep.ppm", b"P6 2 1 65535\n" + bytes(range(12))
    yield (
        "arbitrary.pam",
        (b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n" + bytes(range(16))),
    )


def run_length_bmp() -> bytes:
    """4x4, eight bits a pixel, run-length encoded, which Pillow does not write."""
    rows = bytes([4, 1, 0, 0, 2, 0, 2, 1, 0, 0, 0, 3, 1, 0, 1, 0, 1, 1, 0, 0, 4, 0, 0, 1])
    palette = bytes([0, 0, 0, 0, 255, 255, 255, 0])
    offset = 14 + 40 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 8, 1, len(rows), 0, 0, 2, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + info + palette + rows


def parquet(table: pa.Table, **options: object) -> bytes:
    """A table as a file."""
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def shards() -> Iterator[tuple[str, bytes]]:
    """Every layout of images, codec, page version and encoding, with labels and columns to keep."""
    n = 6
    pixels = [picture(i) for i in range(n)]
    png = [encoded(Image.fromarray(image), "PNG") for image in pixels]
    jpeg = [encoded(Image.fromarray(image), "JPEG", quality=20) for image in pixels]
    square = [picture(i, 4, 4) for i in range(n)]
    structs = pa.array(
        [{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(png)],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    label = pa.array([0, 1, 0, 1, 1, 0], pa.int64())
    features = {
        "image": {"_type": "Image"},
        "label": {"names": ["round", "straight"], "_type": "ClassLabel"},
    }
    key = {"huggingface": json.dumps({"info": {"features": features}})}
    hugging_face = pa.table({"image": structs, "label": label}).replace_schema_metadata(key)
    yield "struct-png-zstd", parquet(hugging_face, compression="zstd", row_group_size=4)
    yield (
        "struct-png-plain",
        parquet(hugging_face, compression="none", use_dictionary=False, write_page_index=True),
    )
    with_null = pa.array([*jpeg[:4], None, b"no image"], pa.large_binary())
    text = pa.array(["a", "b", "a", None, "b", "a"]).dictionary_encode()
    yield (
        "binary-jpeg-snappy",
        parquet(
            pa.table({"jpg": with_null, "class": text}),
            compression="snappy",
            data_page_version="2.0",
            data_page_size=300,
            write_batch_size=1,
        ),
    )
    raw = pa.array([image.tobytes() for image in square], pa.binary(16))
    times = pa.array(range(n), pa.timestamp("us", "UTC"))
    money = pa.array([str(i) for i in range(n)]).cast(pa.decimal128(9, 2))
    yield (
        "raw-brotli",
        parquet(pa.table({"pixels": raw, "when": times, "price": money}), compression="brotli"),
    )
    flat = pa.array(np.concatenate([image.ravel() for image in square]))
    lists = pa.FixedSizeListArray.from_arrays(flat, 16)
    yield "fixed-list-gzip", parquet(pa.table({"image": lists, "y": label}), compression="gzip")
    floats = pa.array([image.ravel() / 2 for image in square], pa.list_(pa.float32()))
    nested = pa.array([[{"a": [i, None], "b": "x"}] for i in range(n)])
    yield (
        "list-float-lz4",
        parquet(
            pa.table({"image": floats, "notes": nested}),
            compression="lz4",
            use_dictionary=False,
            column_encoding={"image.list.element": "BYTE_STREAM_SPLIT"},
        ),
    )
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(np.stack([p.reshape(4, 2, 2) for p in square]))
    yield "tensor", parquet(pa.table({"tensor": tensor, "label": label}))
    columns = {
        f"pixel{i}": pa.array([int(p[i // 8, i % 8]) for p in [picture(s, 8, 8) for s in range(3)]]) for i in range(64)
    }
    yield "pixel-columns", parquet(pa.table(columns), compression="none", write_statistics=False)
    deltas = pa.table({"image": pa.array(png), "id": label, "name": [f"name {i}" for i in range(n)]})
    yield (
        "delta",
        parquet(
            deltas,
            use_dictionary=False,
            compression="none",
            column_encoding={
                "image": "DELTA_LENGTH_BYTE_ARRAY",
                "id": "DELTA_BINARY_PACKED",
                "name": "DELTA_BYTE_ARRAY",
            },
            write_page_checksum=True,
        ),
    )


def jobs() -> Iterator[tuple[str, bytes]]:
    """Our own, and one with every key."""
    for path in sorted((ROOT / "configs").glob("*.toml")):
        yield path.stem, path.read_bytes()
    yield "short", JOB.encode()
    yield "sets", JOB.encode() + b"--set vocabulary.k=64\n--set run={ threads = 2, seed = 7 }\n--set input.label=y"
    yield (
        "all-keys",
        b"""[input]
files = ["a/**/*.parquet", 'b[0-9].parquet']
shape = [2, 3, 3]
max_bad = 0.5
on_bad_image = "drop"
[patches]
normalize = "none"
[sample]
every = 2
max_patches = 1000
[vocabulary]
from = "v.parquet"
[features]
encoding = "hard"
pooling = [[1, 1]]
weighting = "count"
[[cluster]]
of = "pixels"
k = [2, 3]
algorithm = "mini-batch"
[[cluster]]
of = "features"
k = 4
[output]
dir = "o"
layout = "fixed_size_list"
[run]
memory = 99999999
io = "read"
simd = "portable"
""",
    )


def idx_files() -> Iterator[tuple[str, bytes]]:
    """Images, and labels, in the way that the target takes them."""
    pixels = np.stack([picture(i, 3, 4) for i in range(3)])
    images = struct.pack(">IIII", 0x803, 3, 3, 4) + pixels.tobytes()
    labels = struct.pack(">II", 0x801, 3) + bytes([0, 1, 0])

    def joined(images: bytes, labels: bytes) -> bytes:
        return struct.pack("<I", len(images)) + images + labels

    yield "images", joined(images, b"")
    yield "labelled", joined(images, labels)
    yield "gzip", joined(gzip.compress(images, mtime=0), gzip.compress(labels, mtime=0))


def csv_files() -> Iterator[tuple[str, bytes]]:
    """Every way to read a file, which its first byte chooses."""
    rows = [",".join(str(v) for v in [*picture(i, 2, 2).ravel(), "ab"[i % 2]]) for i in range(4)]
    body = "\n".join(rows).encode() + b"\n"
    header = b"p0,p1,p2,p3,label\n"
    yield "last", b"\x00" + body
    yield "header", b"\x05" + header + body
    yield "named", b"\x04" + header + b'"7","8",9,10,"a ""b"""\r\n'
    yield "semicolons", b"\x0f" + body.replace(b",", b";")
    yield "gzip", b"\x00" + gzip.compress(header + body, mtime=0)


def scored_files() -> Iterator[tuple[str, bytes]]:
    """Labels and clusters."""
    table = pa.table({"label": ["a", "b", None, "a"], "cluster": pa.array([0, 1, 1, 0], pa.int32())})
    yield "texts", parquet(table)
    table = pa.table({"label": pa.array([0.5, 1.5, float("nan"), 1e300]), "cluster": [True, False, True, None]})
    yield "numbers", parquet(table, compression="none")
    yield "csv", b"label,cluster\na,0\nb,1\n,1\n1e3,-2\n"


def run_files() -> Iterator[tuple[str, str, bytes]]:
    """What a run leaves, for the targets `manifest`, `report`, `tables` and `vocabulary`."""
    shard = (CORPUS / "shard" / "struct-png-zstd.parquet").read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "job.toml").write_text(JOB)
        data = root / "data" / "input.parquet"
        data.parent.mkdir()
        data.write_bytes(shard)
        os.utime(data, (GOOD_SHARD_SECONDS, GOOD_SHARD_SECONDS))
        run(root)
        out = root / "out"
        manifest = (out / "manifest.json").read_bytes()
        yield "manifest", "manifest", b"m" + manifest
        yield "manifest", "state", b"s" + state_of(json.loads(manifest))
        yield "report", "manifest", b"m" + manifest
        yield "vocabulary", "words.parquet", (out / "vocabulary.parquet").read_bytes()
        for kind, name in [
            ("p", "pictures/patches"),
            ("i", "pictures/images"),
            ("t", "pictures/timeline"),
            ("c", "clusters/pixels-k2.centroids"),
            ("f", "features/input"),
        ]:
            file = kind.encode() + (out / f"{name}.parquet").read_bytes()
            yield "tables", Path(name).name, file
            if name.startswith("pictures/"):
                yield "report", Path(name).name, file


def streams() -> Iterator[tuple[str, str, bytes]]:
    """Streams of record batches, and sketches of them, for the targets `stream` and `sketch`."""
    pixels = [picture(i) for i in range(6)]
    png = [encoded(Image.fromarray(image), "PNG") for image in pixels]
    square = [picture(i, 4, 4).ravel() for i in range(6)]
    structs = pa.array([{"bytes": data, "path": None} for data in png])
    tables = {
        "struct": pa.table({"image": structs, "label": range(6)}),
        "binary": pa.table({"png": pa.array([*png[:5], None], pa.binary())}),
        "view": pa.table({"png": pa.array(png, pa.binary_view())}),
        "list": pa.table({"pixels": pa.array([image.tolist() for image in square], pa.list_(pa.uint8()))}),
        "tensor": pa.table({"pixels": pa.FixedShapeTensorArray.from_numpy_ndarray(np.stack(square).reshape(6, 4, 4))}),
        "empty": pa.table({"png": pa.array([], pa.binary())}),
    }
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.toml"
        job.write_text(JOB)
        for name, table in tables.items():
            out = io.BytesIO()
            with pa.ipc.new_stream(out, table.schema) as writer:
                writer.write_table(table, max_chunksize=4)
            yield "stream", f"{name}.arrows", out.getvalue()
            for kind, sets in [("sketch", []), ("limited", ["--set", "sample.max_patches=20"])]:
                command = [str(BOVW), "stream", str(job), "--kind", "sample", "--quiet", *sets]
                sketch = subprocess.run(command, input=out.getvalue(), check=True, capture_output=True).stdout
                yield "sketch", f"{name}-{kind}.arrows", sketch


def state_of(manifest: dict[str, Any]) -> bytes:
    """The state that a run of this manifest had just before it was done."""
    outputs = {output["path"]: output for output in manifest["outputs"]}
    whole = ("size_bytes", "blake3")
    entry = manifest["inputs"][0]
    features = outputs["features/input.parquet"]
    file = {key: features[key] for key in ("path", "rows", *whole)}
    file |= {key: entry["counts"][key] for key in ("images", "patches", "decided_again")}
    file |= {"n_bad": 0, "bad_list": None, "bad_images": [], "input_blake3": entry["blake3"]}
    state = {
        "format": manifest["format"],
        "identity": manifest["identity"],
        "job": manifest["job"],
        "inputs": [{key: entry[key] for key in ("path", "rows", "size_bytes", "modified_nanos")}],
        "vocabulary": {key: outputs["vocabulary.parquet"][key] for key in whole},
        "learning": manifest["learning"],
        "patches": outputs["pictures/patches.parquet"],
        "features": {"0": file},
        "clusters": [],
    }
    return json.dumps(state, indent=2).encode() + b"\n"


def run(root: Path) -> None:
    """`bovw run` of the job in `root`."""
    command = [str(BOVW), "run", "job.toml", "--progress", "none"]
    clusters = ["--set", "cluster = [{ of = 'pixels', k = 2 }]"]
    subprocess.run(command + clusters, cwd=root, check=True, capture_output=True)


def write(target: str, name: str, data: bytes) -> None:
    """Adds a seed."""
    path = CORPUS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def main() -> None:
    """Writes all seeds."""
    for name, data in images():
        write("image", name, data)
    for name, data in shards():
        write("shard", f"{name}.parquet", data)
    for target, files in [("job", jobs()), ("idx", idx_files()), ("csv", csv_files()), ("evaluate", scored_files())]:
        for name, data in files:
            write(target, name, data)
    for target, name, data in [*run_files(), *streams()]:
        write(target, name, data)
    sizes = {folder.name: sum(f.stat().st_size for f in folder.iterdir()) for folder in sorted(CORPUS.iterdir())}
    print("\n".join(f"{name:12} {size:8} bytes" for name, size in sizes.items()))


if __name__ == "__main__":
    main()
