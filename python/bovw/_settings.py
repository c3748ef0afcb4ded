"""Keyword arguments as keys of a job file, which the library checks at the same door."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

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
    "memory": "run.memory",
}


def settings(arguments: Mapping[str, Any]) -> list[str]:
    """``key=value`` for each argument that is not ``None``, as ``--set`` takes them."""
    given = ((name, value) for name, value in arguments.items() if value is not None)
    return [f"{KEYS[name]}={toml(_pair(name, value))}" for name, value in given]


def sets_of(values: Mapping[str, Any]) -> list[str]:
    """``key=value`` for each key of a job file."""
    return [f"{key}={toml(value)}" for key, value in values.items()]


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
    # A JSON string is a basic string of TOML, but for what JSON need not escape.
    return json.dumps(str(value)).replace("\x7f", "\\u007f")


def _pair(name: str, value: Any) -> Any:
    """One number for the side of a square patch."""
    if name == "patch" and isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return [value, value]
    return value
