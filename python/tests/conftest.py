"""What the tests share: the repository's digits, MNIST where it is, and a finished run of each."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import bovw

ROOT = Path(__file__).resolve().parents[2]
MNIST = ROOT.parent / "shared" / "data" / "mnist"


@dataclass(frozen=True)
class Scene:
    """A job, its images in every form, and the run that is to be equalled."""

    job: Path
    run: bovw.Run
    table: pa.Table
    images: np.ndarray
    labels: np.ndarray
    vectors: np.ndarray

    @property
    def arguments(self) -> dict:
        """The job's settings, as the package's functions take them."""
        job = self.run.manifest["job"]
        patches, sample, words = job["patches"], job["sample"], job["vocabulary"]
        return {
            "patch": patches["size"],
            "every": sample["every"],
            "per_image": sample["per_image"],
            "seed": job["run"]["seed"],
        } | {name: words[name] for name in ("k", "algorithm", "init", "n_init", "max_iter", "tol")}


def features_of(paths: list[Path]) -> np.ndarray:
    """The vectors in features files."""
    return np.concatenate([np.stack(pq.read_table(path)["features"].to_numpy()) for path in paths])


def decoded(table: pa.Table) -> np.ndarray:
    """The images of a table, all of one size."""
    return np.stack([np.asarray(Image.open(io.BytesIO(row["bytes"]))) for row in table["image"].to_pylist()])


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The digits that come with the repository."""
    out = tmp_path_factory.mktemp("digits")
    job = ROOT / "configs" / "digits.toml"
    run = bovw.run(job, set={"output.dir": str(out / "run"), "cluster": []})
    table = pa.concat_tables([pq.read_table(path) for path in sorted((ROOT / "data" / "digits").glob("*.parquet"))])
    labels = table["label"].to_numpy()
    return Scene(job, run, table, decoded(table), labels, features_of(run.features))


@pytest.fixture(scope="session")
def mnist() -> Path:
    """The folder of MNIST's shards."""
    if not MNIST.is_dir():
        pytest.skip(f"there is no {MNIST}")
    return MNIST


@pytest.fixture
def python(tmp_path: Path):
    """Runs a script in a Python of its own, in a folder of its own."""

    def run(script: str | Path, *arguments: str, **more: str) -> str:
        path = script if isinstance(script, Path) else tmp_path / "script.py"
        if not isinstance(script, Path):
            path.write_text(script)
        ended = subprocess.run(
            [sys.executable, path, *arguments],
            cwd=tmp_path,
            env=os.environ | more,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run
