"""Whole jobs, as the command runs them."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import _bovw
from ._errors import JobError
from ._settings import memory_of, sets_of, threads_of

Progress = bool | Callable[[str, int, int], Any] | None


class Run:
    """A finished run: where its results are, and its manifest."""

    def __init__(self, directory: Path, manifest: dict) -> None:
        self.dir = directory
        self.manifest = manifest

    @property
    def features(self) -> list[Path]:
        """The features files, in the order of the inputs."""
        return self._outputs("features/")

    @property
    def vocabularies(self) -> list[_bovw.Vocabulary]:
        """The words, one vocabulary for each size of patches."""
        return [_bovw.Vocabulary.load(path) for path in self._outputs("vocabulary")]

    @property
    def vocabulary(self) -> _bovw.Vocabulary:
        """The words, of a job with one size of patches."""
        vocabularies = self.vocabularies
        if len(vocabularies) != 1:
            raise ValueError(
                f"this run has {len(vocabularies)} vocabularies, one for each size of patches: see .vocabularies"
            )
        return vocabularies[0]

    @property
    def report(self) -> Path:
        """The report, a page for a browser."""
        return self.dir / "report.html"

    def _outputs(self, start: str) -> list[Path]:
        paths = (output["path"] for output in self.manifest["outputs"])
        return [self.dir / path for path in paths if path.startswith(start)]

    def __repr__(self) -> str:
        counts = self.manifest["counts"]
        return f"bovw.Run({counts['rows']} vectors of {counts['values']} values in {self.dir})"


def run(
    job: str | os.PathLike,
    *,
    set: Mapping[str, Any] | None = None,
    fresh: bool = False,
    threads: int | None = None,
    memory: str | None = None,
    progress: Progress = None,
) -> Run:
    """Runs a job file, or goes on with it where it was interrupted; the same as the command ``bovw run``.

    Parameters
    ----------
    job : path
        The job file.
    set : mapping, optional
        Keys of the job and their values, such as ``{"vocabulary.k": 200}``. Paths that are text start at the job file's
        folder, as in the job file; a :class:`pathlib.Path` starts at the working directory.
    fresh : bool
        Start over: remove what an earlier run of this job left.
    threads, memory : optional
        Worker threads a stage, and the ceiling of heap memory, such as "512MiB".
    progress : bool or callable, optional
        True shows a bar (with tqdm); a function is called with what is being done, how much of it is, and of how much,
        some times a second.

    Returns
    -------
    Run
    """
    with shown(progress) as look:
        directory, manifest = _bovw.run(job, sets_of(set or {}), fresh, threads_of(threads), memory_of(memory), look)
    return Run(Path(directory), json.loads(manifest))


class shown:
    """Progress as it was asked for, while a call lasts."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bar: Any = None
        self._phase = ""

    def __enter__(self) -> Callable[[str, int, int], Any] | None:
        if self._progress is True:
            if importlib.util.find_spec("tqdm") is None:
                raise JobError(
                    "progress=True shows a bar with tqdm, which is not there\n"
                    "  help: pip install tqdm, or give a function"
                )
            return self._look
        return self._progress or None

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _look(self, phase: str, done: int, total: int) -> None:
        if phase != self._phase:
            self.__exit__()
            self._phase, self._bar = phase, None
        if self._bar is None and total > 0 and phase != "done":
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, desc=phase)
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)
