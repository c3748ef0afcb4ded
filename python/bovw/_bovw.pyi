"""The native half of the package. What is not repeated by :mod:`bovw` is its own business."""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Batch",
    "Featurizer",
    "Learner",
    "Stream",
    "Vocabulary",
    "__version__",
    "merge_tasks",
    "plan_tasks",
    "run",
    "run_task",
]

__version__: str

_Look = Callable[[str, int, int], Any] | None
_Vectors = tuple[NDArray[np.float32], NDArray[np.int32], list[str | None]]

@final
class Vocabulary:
    """The words that patches are held against, as ``vocabulary.parquet`` has them. It cannot be changed."""

    @staticmethod
    def load(path: str | PathLike[str]) -> Vocabulary:
        """Reads a vocabulary file."""

    @staticmethod
    def from_bytes(data: bytes) -> Vocabulary:
        """The vocabulary in the bytes of such a file."""

    def to_bytes(self) -> bytes:
        """The bytes of a vocabulary file."""

    def save(self, path: str | PathLike[str]) -> None:
        """Writes a vocabulary file, whole or not at all."""

    @property
    def words(self) -> NDArray[np.float32]:
        """The words, ``(k, height * width * channels)``, most used first, channels of a pixel side by side; a copy."""

    @property
    def counts(self) -> NDArray[np.uint64]:
        """Sampled patches whose nearest word each is, ``(k,)``."""

    @property
    def inertia(self) -> NDArray[np.float64]:
        """Sum of the squared distances of these patches to each word, ``(k,)``."""

    @property
    def inertia_per_patch(self) -> float:
        """Mean squared distance of a sampled patch to its word."""

    @property
    def k(self) -> int:
        """Number of words."""

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of a patch in pixels."""

    @property
    def channels(self) -> int:
        """Values of a pixel: 1 for grey, 3 for RGB."""

    @property
    def settings_json(self) -> str:
        """The job that the words were learned by, as JSON."""

    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def _repr_html_(self) -> str: ...

@final
class Batch:
    """A record batch, for any package that takes Arrow data: ``pyarrow.record_batch(it)``, ``polars.DataFrame(it)``."""

    @property
    def num_rows(self) -> int:
        """Number of rows."""

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""

    def __len__(self) -> int: ...
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class Stream:
    """Record batches that are made as they are asked for, once: ``pyarrow.table(it)``, ``duckdb.sql("from it")``."""

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""

    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class Featurizer:
    def __new__(
        cls,
        vocabularies: Sequence[Vocabulary],
        settings: Sequence[str],
        threads: int | None = None,
    ) -> Featurizer: ...
    @property
    def n_values(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def settings_json(self) -> str: ...
    def dense(self, images: NDArray[np.uint8] | NDArray[np.float32]) -> _Vectors: ...
    def listed(self, images: list[Any]) -> _Vectors: ...
    def arrow(self, data: Any, is_list: bool = False) -> Batch | Stream: ...

@final
class Learner:
    def __new__(cls, settings: Sequence[str], threads: int | None = None, memory: str | None = None) -> Learner: ...
    @property
    def n_patches(self) -> int: ...
    @property
    def n_counted(self) -> int: ...
    def count_on_from(self, n_counted: int) -> None: ...
    @property
    def needs_documents(self) -> bool: ...
    @property
    def settings_json(self) -> str: ...
    def dense(self, images: Any, numbers: Sequence[int] | None = None) -> None: ...
    def listed(self, images: list[Any], numbers: Sequence[int] | None = None) -> None: ...
    def arrow(self, data: Any, rows: str | None = None) -> None: ...
    def sketch(self) -> bytes: ...
    def merge(self, sketch: bytes) -> None: ...
    def learn(self, look: _Look = None) -> tuple[list[Vocabulary], list[int]]: ...
    def with_documents(self, vocabularies: Sequence[Vocabulary], images: Any) -> list[Vocabulary]: ...

def run(
    job: str | PathLike[str],
    sets: Sequence[str],
    fresh: bool,
    threads: int | None,
    memory: str | None,
    look: _Look,
) -> tuple[Path, str]: ...
def plan_tasks(
    job: str | PathLike[str],
    sets: Sequence[str],
    fresh: bool,
    max_row_groups: int | None,
    threads: int | None,
    memory: str | None,
) -> str: ...
def run_task(
    job: str | PathLike[str],
    kind: str,
    number: int,
    sets: Sequence[str],
    threads: int | None,
    memory: str | None,
) -> str: ...
def merge_tasks(
    job: str | PathLike[str],
    kind: str,
    sets: Sequence[str],
    threads: int | None,
    memory: str | None,
    look: _Look,
) -> tuple[Path, str] | None: ...
