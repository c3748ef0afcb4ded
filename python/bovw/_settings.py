"""Keyword arguments as keys of a job file, which the library checks at the same door."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ._errors import JobError

KEYS = {
    "color": "input.color",
    "resize": "input.resize",
    "max_pixels": "input.max_pixels",
    "image": "input.image",
    "shape": "input.shape",
    "on_bad_image": "input.on_bad_image",
    "patch": "patches.size",
    "stride": "patches.stride",
    "normalize": "patches.normalize",
    "epsilon": "patches.epsilon",
    "whiten": "patches.whiten",
    "whiten_epsilon": "patches.whiten_epsilon",
    "every": "sample.every",
    "per_image": "sample.per_image",
    "max_patches": "sample.max_patches",
    "k": "vocabulary.k",
    "algorithm": "vocabulary.algorithm",
    "init": "vocabulary.init",
    "n_init": "vocabulary.n_init",
    "max_iter": "vocabulary.max_iter",
    "batch_size": "vocabulary.batch_size",
    "tol": "vocabulary.tol",
    "spherical": "vocabulary.spherical",
    "encoding": "features.encoding",
    "nearest": "features.nearest",
    "pooling": "features.pooling",
    "weighting": "features.weighting",
    "seed": "run.seed",
}


def settings(arguments: Mapping[str, Any]) -> list[str]:
    """``key=value`` for each argument that is not ``None``, as ``--set`` takes them."""
    given = ((name, value) for name, value in arguments.items() if value is not None)
    return [f"{KEYS[name]}={toml(_pair(name, value))}" for name, value in given]


def sets_of(values: Mapping[str, Any]) -> list[str]:
    """``key=value`` for each key of a job file."""
    return [f"{key}={toml(value)}" for key, value in values.items()]


def threads_of(threads: Any) -> int | None:
    """Threads as the library takes them."""
    if threads is None or (isinstance(threads, (int, np.integer)) and 0 <= threads < 1 << 31):
        return threads
    raise JobError(f"run.threads: {threads!r} is not possible\n  help: give a whole number; 0, or none, is every core")


def memory_of(memory: Any) -> str | None:
    """A ceiling of memory as the library takes it."""
    if isinstance(memory, (int, np.integer)) and not isinstance(memory, bool):
        return f"{memory}B"
    if memory is None or isinstance(memory, str):
        return memory
    raise JobError(f'run.memory: {memory!r} is not possible\n  help: give bytes, or a text such as "512MiB"')


def rows_of(rows: Any) -> list[int] | None:
    """The numbers of images."""
    if rows is None:
        return None
    numbers = np.asarray(rows)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or (numbers.size and numbers.min() < 0):
        raise TypeError("rows are whole numbers from 0, one for each image")
    return numbers.tolist()


def toml(value: Any) -> str:
    """A value in TOML syntax."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple, np.ndarray)):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, os.PathLike):
        # A path of this program, and not one of the job file's folder.
        value = Path(value).absolute()
    elif not isinstance(value, str):
        raise TypeError(f"{value!r} is no value of a job: give text, a number, true or false, a list or a mapping")
    # A JSON string is a basic string of TOML, but for what JSON need not escape.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _pair(name: str, value: Any) -> Any:
    """One number for the side of a square patch."""
    if name == "patch" and isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return [value, value]
    return value
