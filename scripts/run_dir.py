"""What a finished run left, read without `bovw`.

The checks must not believe the program that they check, so they read its files with other libraries. The manifest is
read leniently: a check should fail because a number is wrong, not because a key moved.
"""

import json
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class RunDir:
    """The output directory of a run."""

    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The whole of manifest.json."""
        return json.loads((self.path / "manifest.json").read_text())

    @cached_property
    def job(self) -> dict[str, Any]:
        """The resolved job: a table, or TOML text, under `job`; else the manifest itself."""
        job = self.manifest.get("job", self.manifest)
        return tomllib.loads(job) if isinstance(job, str) else job

    def setting(self, table: str, key: str, default: Any = None) -> Any:  # noqa: ANN401 - whatever TOML holds
        """A key of the job; `default` where it is absent or null."""
        value = (self.job.get(table) or {}).get(key)
        return default if value is None else value

    @property
    def features_files(self) -> list[Path]:
        """Features files in name order, which is the order of the input."""
        return sorted((self.path / "features").glob("*.parquet"))

    @property
    def vocabulary_file(self) -> Path:
        """The vocabulary that the features were made with."""
        return self.path / "vocabulary.parquet"

    def words(self) -> NDArray[np.float64]:
        """The centroids, k x d; float32 in the file, so exact in float64."""
        table = pq.read_table(self.vocabulary_file, columns=["centroid"])
        return fixed_size_lists(table["centroid"]).astype(np.float64)

    def input_files(self) -> list[Path]:
        """The shards that were read, in the order read."""
        entries = self.manifest.get("inputs") or self.manifest.get("input") or []
        names = [entry["path"] if isinstance(entry, dict) else entry for entry in entries]
        return [self._find_input(Path(name)) for name in names]

    def _find_input(self, name: Path) -> Path:
        """Finds a shard whether the manifest names it absolutely, or relative to the run, here or the repository."""
        for base in (self.path, Path.cwd(), REPOSITORY, REPOSITORY / "configs"):
            if (base / name).exists():
                return base / name
        raise FileNotFoundError(f"manifest.json names the input {name}, which is not there")

    def features_of(self, shard: Path) -> Path:
        """The features file of an input shard."""
        for name in (shard.name, f"{shard.stem}.parquet", f"{shard.name}.parquet"):
            if (self.path / "features" / name).exists():
                return self.path / "features" / name
        raise FileNotFoundError(f"no features file for {shard.name} in {self.path / 'features'}")


def fixed_size_lists(column: Any) -> NDArray[Any]:  # noqa: ANN401 - pyarrow has no usable types
    """A column of equally long lists as a matrix, a row each."""
    values = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    return values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), -1)
