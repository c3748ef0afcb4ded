"""What the tests of bovw.spark and bovw.ray share: the digits, what `bovw run` makes of them, workers that die.

Workers are killed from within: a `sitecustomize` that only these tests see wraps what a worker calls. The first
worker that takes the file of that name away from the folder of arms kills itself, and no other does.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bovw
from bovw import _engines

REPOSITORY = Path(__file__).resolve().parents[2]
SHARDS = sorted((REPOSITORY / "data" / "digits").glob("*.parquet"))
JOB = REPOSITORY / "configs" / "digits.toml"
LEARNING = {"k": 32, "patch": 3, "per_image": 0.75, "seed": 0, "n_init": 3, "algorithm": "mini-batch"}
MAX_PATCHES = 5000

SITECUSTOMIZE = """
import os, signal, threading
from pathlib import Path

ARMS = Path(os.environ["BOVW_TEST_ARMS"])


def is_mine(name):
    try:
        (ARMS / name).rename(ARMS / f"{name}-{os.getpid()}")
    except FileNotFoundError:
        return False
    return True


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def mortal(name, function):
    def wrapped(*args, **kwargs):
        if is_mine(f"{name}-within"):
            threading.Timer(0.002, die).start()
        result = function(*args, **kwargs)
        if is_mine(f"{name}-after"):
            die()
        return result

    return wrapped


import bovw

bovw.Featurizer.transform = mortal("transform", bovw.Featurizer.transform)
if hasattr(bovw, "Learner"):
    bovw.Learner.add = mortal("add", bovw.Learner.add)
try:
    import bovw.tasks
except ImportError:
    pass
else:
    bovw.tasks.run = mortal("run", bovw.tasks.run)
"""


class Arms:
    """The folder of arms, and the environment in which workers look at it."""

    def __init__(self, folder: Path) -> None:
        """Makes them within a folder."""
        self.folder = folder / "arms"
        self.folder.mkdir()
        self.python_path = folder / "python"
        self.python_path.mkdir()
        (self.python_path / "sitecustomize.py").write_text(SITECUSTOMIZE)

    def environment(self) -> dict[str, str]:
        """What workers have to find in theirs."""
        return {"BOVW_TEST_ARMS": str(self.folder), "PYTHONPATH": str(self.python_path)}

    @contextmanager
    def kills_one(self, name: str) -> Iterator[None]:
        """A worker dies once in the block: `transform-after`, `add-after`, `run-within`, `run-after`."""
        arm = self.folder / name
        arm.touch()
        yield
        assert not arm.exists(), f"no worker came by {name}"


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Variables that are set as long as the block lasts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def run_digits(directory: Path, **more: Any) -> bovw.Run:
    """The main job on the digits, by `bovw run`."""
    return bovw.run(JOB, set={"output.dir": str(directory), **more})


def results(run: bovw.Run) -> dict[str, str]:
    """The hashes of everything that a job computes, by name."""
    kinds = ("features/", "vocabulary", "clusters/")
    hashes = {one["path"]: one["blake3"] for one in run.manifest["outputs"] if one["path"].startswith(kinds)}
    assert sum(path.startswith("features/") for path in hashes) == len(SHARDS)
    return hashes


def vectors(run: bovw.Run) -> pa.Table:
    """The features of a run, in the order of `id`."""
    return by_id(pa.concat_tables(pq.read_table(path) for path in run.features))


def by_id(table: pa.Table) -> pa.Table:
    """Rows in the order of `id`."""
    return table.sort_by("id")


def assert_same_vectors(made: pa.Table, expected: pa.Table) -> None:
    """All columns of one are those of the other, row by row; containers may differ."""
    assert made.column_names == expected.column_names
    made = by_id(made)
    for name in expected.column_names:
        assert made[name].to_pylist() == expected[name].to_pylist(), name


def assert_same_words(made: bovw.Vocabulary, expected: bovw.Vocabulary) -> None:
    """Words that are the same in every value."""
    np.testing.assert_array_equal(made.words, expected.words)


def counting_sketches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of sketches that reach the driver, each time that words are learned."""
    counts: list[int] = []
    learned = _engines.learned

    def counted(batches: Iterable[pa.RecordBatch | pa.Table], settings: Any, progress: Any) -> Any:
        batches = list(batches)
        counts.append(sum(batch.num_rows for batch in batches))
        return learned(batches, settings, progress)

    monkeypatch.setattr(_engines, "learned", counted)
    return counts


def repeated_in_disorder(n: int) -> list[int]:
    """Every number below `n` twice, in no order."""
    numbers = [*range(n), *range(n)]
    random.Random(7).shuffle(numbers)
    return numbers


def bad_shard(path: Path) -> Path:
    """Three digits, of which the second is none and the third is broken."""
    table = pq.read_table(SHARDS[0]).slice(0, 3).replace_schema_metadata()
    images = table["image"].to_pylist()
    images[1], images[2] = None, {"bytes": b"no picture", "path": None}
    column = pa.array(images, table.schema.field("image").type)
    pq.write_table(table.set_column(0, "image", column), path)
    return path
