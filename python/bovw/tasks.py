"""A job in pieces, for whatever starts processes on many machines that see one file system.

``plan`` cuts the job once; each of its kinds is run for all tasks, in any order, on any machine, as often as it takes,
and then merged, in one process. The results are byte for byte those of ``bovw run``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _bovw
from ._errors import JobError
from ._run import Progress, Run, shown
from ._settings import memory_of, sets_of, threads_of

__all__ = ["TaskPlan", "merge", "plan", "run"]


@dataclass(frozen=True)
class TaskPlan:
    """A job that is cut into tasks.

    Attributes
    ----------
    dir : Path
        The run's directory.
    kinds : list of str
        What the tasks are to be run for, in order, as far as it is not merged yet: "sample", "documents", "featurize".
    tasks : list of dict
        ``task`` (its number), ``file``, ``row_groups`` ([first, end)), ``rows``, ``bytes``; none where the run is done.
    """

    dir: Path
    kinds: list[str]
    tasks: list[dict]

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return len(self.tasks)


def plan(
    job: str | os.PathLike,
    *,
    set: Mapping[str, Any] | None = None,
    fresh: bool = False,
    max_row_groups: int | None = None,
    threads: int | None = None,
    memory: str | None = None,
) -> TaskPlan:
    """Cuts a job into tasks, and writes the plan into its run's directory.

    Parameters
    ----------
    job, set, fresh, threads, memory
        As for :func:`bovw.run`.
    max_row_groups : int, optional
        Row groups of a task, at most; a task is a whole file if left out.
    """
    if max_row_groups is not None and max_row_groups < 1:
        raise JobError(f"max_row_groups: {max_row_groups} is not possible\n  help: give 1 or more, or leave it out")
    text = _bovw.plan_tasks(job, sets_of(set or {}), fresh, max_row_groups, threads_of(threads), memory_of(memory))
    planned = json.loads(text)
    return TaskPlan(Path(planned["dir"]), planned["kinds"], planned["tasks"])


def run(
    job: str | os.PathLike,
    kind: str,
    task: int,
    *,
    set: Mapping[str, Any] | None = None,
    threads: int | None = None,
    memory: str | None = None,
) -> dict:
    """Does one task of a job that is planned, unless it is done; gives its receipt."""
    return json.loads(_bovw.run_task(job, kind, task, sets_of(set or {}), threads_of(threads), memory_of(memory)))


def merge(
    job: str | os.PathLike,
    kind: str,
    *,
    set: Mapping[str, Any] | None = None,
    threads: int | None = None,
    memory: str | None = None,
    progress: Progress = None,
) -> Run | None:
    """Merges what the tasks of a kind have made; gives the run once it is done, after the last kind."""
    with shown(progress) as look:
        merged = _bovw.merge_tasks(job, kind, sets_of(set or {}), threads_of(threads), memory_of(memory), look)
    if merged is None:
        return None
    directory, manifest = merged
    return Run(Path(directory), json.loads(manifest))
