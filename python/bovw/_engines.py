"""What bovw.spark and bovw.ray have in common: what a worker does with the Arrow data that its engine hands it."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from . import _errors
from ._bovw import Vocabulary
from ._featurizer import Featurizer
from ._learn import Learner, Words
from ._run import Progress

FAN = 16
"""Sketches that are merged at once; 16 to the power of 4 tasks are 4 rounds."""

SKETCHES = pa.schema([pa.field("sketch", pa.binary(), nullable=False)])

# Featurizers of this worker process, the newest last. Workers serve one job after the other, so few are enough.
_FEATURIZERS: dict[str, Featurizer] = {}
_FEATURIZERS_AT_MOST = 4
_LOCK = threading.Lock()

# How Python's tracebacks, which engines carry as text, show an error of this library, and its lines of help.
_RAISED = re.compile(r"^bovw\.(?:_errors\.)?(\w+): (.*(?:\n  .*)*)", re.MULTILINE)


@dataclass(frozen=True)
class Recipe:
    """What a worker needs to make vectors; `held` is whatever its engine keeps the words in."""

    held: Any
    settings: dict[str, Any]
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def featurizer(self, words_of: Callable[[Any], list[bytes]], threads: int) -> Featurizer:
        """The featurizer of this process, made when it is first asked for."""
        with _LOCK:
            if self.key not in _FEATURIZERS:
                words = [Vocabulary.from_bytes(one) for one in words_of(self.held)]
                made = Featurizer(words, **{"threads": threads, **self.settings})
                while len(_FEATURIZERS) >= _FEATURIZERS_AT_MOST:
                    del _FEATURIZERS[next(iter(_FEATURIZERS))]
                _FEATURIZERS[self.key] = made
            return _FEATURIZERS[self.key]


def checked(vocabulary: Any, settings: Mapping[str, Any]) -> tuple[Featurizer, list[bytes]]:
    """A featurizer of the driver's own, which refuses what cannot work, and the words to send."""
    featurizer = Featurizer(vocabulary, **{"threads": 1, **settings})
    return featurizer, [one.to_bytes() for one in featurizer.vocabularies]


def schema_of_result(featurizer: Featurizer, schema: pa.Schema, layout: str) -> pa.Schema:
    """The columns that vectors of such data come with; raises what the data would, were its columns wrong."""
    return pa.record_batch(featurizer.transform(_nothing(schema), layout=layout)).schema


def check_learner(settings: Mapping[str, Any], schema: pa.Schema | None = None, rows: str | None = None) -> None:
    """Refuses settings that cannot work, and columns that are missing, before anything is sent."""
    learner = Learner(**settings)
    if settings.get("color") == "auto":
        raise _errors.JobError(
            'input.color: "auto" goes by the first image, and every partition has its own\n'
            '  help: set it to "grey" or "rgb"'
        )
    if schema is not None:
        learner.add(_nothing(schema), rows=rows)
    if learner._native.needs_documents:
        raise _errors.JobError(
            'features.weighting: "tf-idf" takes a second look at the images, which learning here does not\n'
            "  help: learn the words in a job, with run"
        )


def sketched(images: Iterable[Any], settings: Mapping[str, Any], rows: str | None, threads: int = 1) -> pa.RecordBatch:
    """The sketch of some Arrow data; no row where there are no patches."""
    learner = Learner(**{"threads": threads, **settings})
    for some in images:
        learner.add(some, rows=rows)
    return _sketch_of(learner)


def merged(sketches: Iterable[pa.RecordBatch | pa.Table], settings: Mapping[str, Any]) -> pa.RecordBatch:
    """One sketch of many."""
    return _sketch_of(_merge(sketches, Learner(**{"threads": 1, **settings})))


def learned(sketches: Iterable[pa.RecordBatch | pa.Table], settings: Mapping[str, Any], progress: Progress) -> Words:
    """The words of all sketches."""
    return _merge(sketches, Learner(**settings)).learn(progress=progress)


@contextmanager
def library_errors() -> Iterator[None]:
    """Turns an engine's report of an error of this library, which came from a worker, into that error again."""
    try:
        yield
    except _errors.BovwError:
        raise
    except Exception as error:
        raised = _raised(str(error))
        if raised is None:
            raise
        raise raised from error


def _nothing(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], one.type) for one in schema], schema=schema)


def _merge(sketches: Iterable[pa.RecordBatch | pa.Table], learner: Learner) -> Learner:
    for batch in sketches:
        for sketch in batch.column("sketch"):
            learner.merge(sketch.as_py())
    return learner


def _sketch_of(learner: Learner) -> pa.RecordBatch:
    sketches = [learner.sketch()] if learner.n_patches else []
    return pa.record_batch([pa.array(sketches, pa.binary())], schema=SKETCHES)


def _raised(text: str) -> _errors.BovwError | None:
    found = _RAISED.search(text)
    kind = getattr(_errors, found[1], None) if found else None
    return kind(found[2]) if kind else None
