"""A job that runs through everything that `bovw` writes, for checks that break it off.

Several shards with bad images, restarts of k-means, clusters of pixels and of features. The images are the repository's
digits over and over, or real MNIST; both are far larger than what the job holds at once.
"""

import io
import json
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from run_dir import REPOSITORY

N_SHARDS = 6
BAD_EVERY = 997
SIDE = 28
# What an undisturbed run leaves and a resumed one must: all but times, and what tells times.
TIMELESS = ("vocabulary.parquet", "features/", "clusters/", "bad_images/", "pictures/patches.", "pictures/images.")

JOB = """\
[input]
files = ["data/*.parquet"]
on_bad_image = "{on_bad_image}"
[patches]
size = [6, 6]
[sample]
every = {every}
per_image = 0.75
[vocabulary]
k = 50
algorithm = "{algorithm}"
n_init = 3
max_iter = 60
{clusters}
[output]
dir = "out"
[run]
seed = {seed}
threads = 2
memory = "{memory}"
"""


CLUSTERS = """\
[[cluster]]
of = "pixels"
k = [5, 8]
n_init = 3
max_iter = 60
[[cluster]]
of = "features"
k = 5
n_init = 3
max_iter = 60
"""


@dataclass
class HardJob:
    """A folder with a job file and its shards."""

    path: Path
    bovw: Path

    @classmethod
    def make(cls, path: Path, bovw: Path, n_images: int, **keys: Any) -> "HardJob":  # noqa: ANN401 - keys of the job
        """Writes the shards and the job file into a new folder."""
        (path / "data").mkdir(parents=True)
        for number, rows in enumerate(np.array_split(np.arange(n_images), N_SHARDS)):
            write_shard(path / "data" / f"part-{number}.parquet", rows)
        values = {
            "on_bad_image": "drop",
            "algorithm": "lloyd",
            "seed": 0,
            "memory": "64MiB",
            "every": 4,
            "clusters": CLUSTERS,
        } | keys
        (path / "job.toml").write_text(JOB.format(**values))
        return cls(path, bovw.resolve())

    @property
    def out(self) -> Path:
        """The run's directory, where the job says nothing else."""
        return self.path / "out"

    def command(self, out: Path | None = None, *more: str) -> list[str]:
        """`bovw run` of this job, into `out`."""
        command = [str(self.bovw), "run", str(self.path / "job.toml"), "--progress", "none", *more]
        return command if out is None else [*command, "--set", f"output.dir={json.dumps(str(out))}"]

    def run(self, out: Path | None = None, *more: str) -> subprocess.CompletedProcess[str]:
        """Runs it to its end."""
        return subprocess.run(self.command(out, *more), capture_output=True, text=True, check=False)


def write_shard(path: Path, rows: np.ndarray) -> None:
    """Digits drawn at random, as PNG files of 28x28 pixels in Hugging Face's layout; one in so many is no image."""
    digits = [pq.read_table(file) for file in sorted((REPOSITORY / "data" / "digits").glob("*.parquet"))]
    table = pa.concat_tables(digits)
    images, labels = table["image"].to_pylist(), table["label"].to_pylist()
    drawn = random.Random(int(rows[0]))
    values, found = [], []
    for row in rows:
        at = drawn.randrange(len(images))
        found.append(labels[at])
        is_bad = row % BAD_EVERY == BAD_EVERY - 1
        values.append({"bytes": b"no image" if is_bad else enlarged(images[at]["bytes"], drawn), "path": f"{row}.png"})
    image_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array(values, image_type), "label": pa.array(found, pa.int64()), "row": pa.array(rows)}
    pq.write_table(pa.table(columns), path, compression="none", row_group_size=500)


def enlarged(png: bytes, drawn: random.Random) -> bytes:
    """A digit at 28x28 pixels, shifted a little, so that few images are the same."""
    digit = Image.open(io.BytesIO(png)).convert("L").resize((22, 22), Image.Resampling.BILINEAR)
    image = Image.new("L", (SIDE, SIDE))
    image.paste(digit, (drawn.randrange(SIDE - 22), drawn.randrange(SIDE - 22)))
    out = io.BytesIO()
    image.save(out, "png", compress_level=1)
    return out.getvalue()


def results(out: Path) -> dict[str, bytes]:
    """The files that must not differ, by their path in a run's directory."""
    files = (path for path in out.rglob("*") if path.is_file())
    named = ((path.relative_to(out).as_posix(), path) for path in files)
    return {name: path.read_bytes() for name, path in named if name.startswith(TIMELESS) and ".bovw-" not in name}


def timeless_manifest(out: Path) -> dict[str, Any]:
    """The manifest without times, and without the files that hold times."""
    manifest = json.loads((out / "manifest.json").read_text())
    manifest.pop("run")
    manifest["job"]["output"].pop("dir")
    manifest["outputs"] = [output for output in manifest["outputs"] if output["path"].startswith(TIMELESS)]
    return manifest


def leftovers(out: Path) -> list[str]:
    """What a finished run may not leave: temporary files, a state, checkpoints."""
    hidden = (path.relative_to(out).as_posix() for path in out.rglob(".bovw-*"))
    return sorted(name for name in hidden if name != ".bovw-lock")


def not_whole(out: Path, expected: dict[str, bytes]) -> list[str]:
    """Files under a final name that do not open, or are not those of an undisturbed run."""
    wrong = []
    for name, found in results(out).items():
        if name.endswith(".parquet"):
            try:
                pq.read_table(out / name)
            except (OSError, pa.ArrowException) as error:
                wrong.append(f"{name} does not open: {error}")
                continue
        if found != expected.get(name):
            wrong.append(f"{name} has other bytes than in an undisturbed run")
    for name in (".bovw-state.json", "manifest.json"):
        if (out / name).exists():
            try:
                json.loads((out / name).read_text())
            except ValueError as error:
                wrong.append(f"{name} is not whole: {error}")
    return wrong


def state(out: Path) -> dict[str, Any]:
    """What the run has noted; nothing where there is no state or half of one."""
    try:
        return json.loads((out / ".bovw-state.json").read_text())
    except (OSError, ValueError):
        return {}


def table(title: str, rows: list[tuple[str, str, str, bool]]) -> bool:
    """Prints what was measured beside what is asked; whether all of it holds."""
    lines = [("what", "measured", "at least", ""), *((*row[:3], "holds" if row[3] else "FAILS") for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    print(f"\n{title}")
    for line in lines:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return all(row[3] for row in rows)
