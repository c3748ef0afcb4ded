"""bovw inside Ray: vectors and words of a Ray dataset of images, and whole jobs as Ray tasks.

The package has to be installed where the workers run (``pip install bovw[ray]``, or ``runtime_env={"pip": [...]}``).
Work is done in Ray tasks, not actors: Ray runs them together with the reading before them, so that images do not pass
through the object store, and starts as many as there are cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from ray.data import Dataset, TaskPoolStrategy

from . import _engines, tasks
from ._engines import FAN, Recipe, library_errors
from ._errors import JobError
from ._learn import Words
from ._run import Progress, Run

# Tasks of a job that wait in Ray's queue, for each core of the cluster: enough that no core waits for the driver.
_QUEUED_PER_CORE = 4


def featurize(
    ds: Dataset,
    vocabulary: Any,
    *,
    concurrency: int | None = None,
    batch_size: int | None = None,
    num_cpus: float | None = None,
    layout: str = "tensor",
    **settings: Any,
) -> Dataset:
    """Vectors of a dataset's images: the image column is replaced by ``features``, all other columns stay.

    Lazy, like any dataset. Blocks go to the featurizer as Arrow tables, without a copy. Words and settings are checked
    here; the words go into the object store once, and are read once a worker process.

    Parameters
    ----------
    ds : Dataset
        Images in a binary column (files of PNG, JPEG and so on, or raw pixels), a struct of ``bytes`` and ``path``, a
        list column of pixels, or one column a pixel.
    vocabulary : Vocabulary, path, or a list of them
        The words; a path is read here.
    concurrency : int, optional
        Tasks at once, at most; as many as there are cores if left out.
    batch_size : int, optional
        Rows that are featurized in one call; a whole block if left out.
    num_cpus : float, optional
        Cores that a task takes; 1 if left out.
    layout : {"tensor", "fixed_size_list"}
        Type of the vectors. Ray makes one matrix of a batch of tensors, for NumPy and torch; ``bovw run`` writes
        lists of a fixed size.
    **settings
        Those of :class:`bovw.Featurizer`: ``image``, ``shape``, ``on_bad_image``, ``encoding``, ``pooling``,
        ``weighting`` and so on. ``threads`` is 1 if left out; set `num_cpus` with it.

    Returns
    -------
    Dataset
        All other columns, ``features`` (float32, as many as the vectors have values), ``n_patches`` (int32), and with
        ``on_bad_image="zero"`` ``status`` (string: null, or why the vector is zeros).

    Raises
    ------
    JobError, DataError
        At once, for settings that cannot work. A bad image, or a column that is missing, ends the execution that meets
        it with a ``RayTaskError`` that has the message.

    Examples
    --------
    >>> vectors = bovw.ray.featurize(ray.data.read_parquet("shards/"), "out/job/vocabulary.parquet", pooling=[2, 2])
    >>> vectors.take_batch(100)["features"].shape
    (100, 200)
    """
    if layout not in ("tensor", "fixed_size_list"):
        raise JobError(f'layout: "{layout}" is not known\n  help: choose "tensor" or "fixed_size_list"')
    _, words = _engines.checked(vocabulary, settings)
    recipe = Recipe(ray.put(words), settings)

    def vectors(table: pa.Table) -> pa.Table:
        made = pa.table(recipe.featurizer(ray.get, threads=1).transform(table))
        return _with_tensors(made) if layout == "tensor" else made

    return ds.map_batches(
        vectors,
        batch_format="pyarrow",
        batch_size=batch_size,
        compute=TaskPoolStrategy(size=concurrency),
        num_cpus=num_cpus,
        zero_copy_batch=True,
    )


def learn(ds: Dataset, *, rows: str | None = None, progress: Progress = None, **settings: Any) -> Words:
    """Learns words from a dataset's images.

    Each block gives a sketch: the patches of the sample that it has. With ``max_patches`` a sketch has at most so many
    (those with the smallest hashes), and sketches are merged sixteen at a time in tasks, twice; so one in 256 reaches
    the driver, where they are merged one after the other. Without it the whole sample comes to the driver. The words
    are learned there, on its cores.

    Parameters
    ----------
    ds : Dataset
        Images, as for :func:`featurize`. With ``image`` given only that column, and `rows`, are read.
    rows : str, optional
        An integer column with each image's number. With the numbers 0, 1, 2... in the order of a job's shards, the
        words are those of ``bovw run``, byte for byte. Without it an image's number is a hash of its pixels: the words
        do not depend on blocks or order either, and an image that is there twice counts once.
    progress : bool or callable, optional
        As for :func:`bovw.run`; of the learning on the driver.
    **settings
        Those of :class:`bovw.Learner`: ``k``, ``patch``, ``per_image``, ``max_patches``, ``seed`` and so on.

    Returns
    -------
    Vocabulary, or a list of them where ``patch`` is several sizes.
    """
    _engines.check_learner(settings)
    if settings.get("image") is not None:
        ds = ds.select_columns([settings["image"], *([rows] if rows else [])])

    def sketch(table: pa.Table) -> pa.Table:
        return pa.table(_engines.sketched([table], settings, rows))

    def merge(table: pa.Table) -> pa.Table:
        return pa.table(_engines.merged([table], settings))

    sketches = ds.map_batches(sketch, batch_format="pyarrow", batch_size=None)
    if settings.get("max_patches") is not None:
        # Operations of one size would be run in one task, each block by itself; of two sizes they are not.
        for size in (FAN, 1):
            sketches = sketches.map_batches(
                merge, batch_format="pyarrow", batch_size=FAN, compute=TaskPoolStrategy(size=size)
            )
    with library_errors():
        batches = sketches.iter_batches(batch_format="pyarrow", batch_size=1, prefetch_batches=0)
        return _engines.learned(batches, settings, progress)


def run(
    job: str | os.PathLike,
    *,
    set: Mapping[str, Any] | None = None,
    fresh: bool = False,
    max_row_groups: int | None = None,
    threads: int = 1,
    memory: str | None = None,
    progress: Progress = None,
) -> Run:
    """Runs a job file as Ray tasks, with the same files as ``bovw run``, byte for byte.

    Pixels do not pass through Ray: a task is a file and a range of its row groups, and its worker reads them itself.
    Job, inputs and output have to be on a file system that driver and workers see under the same paths. Between driver
    and workers go task numbers and a few hundred bytes of report a task; sketches and state go through ``.bovw-tasks``
    in the output directory. What is done stays done: tasks may be run twice or killed, and the same call goes on where
    it was interrupted.

    Parameters
    ----------
    job : path
        The job file.
    set : mapping, optional
        Keys of the job and their values, such as ``{"vocabulary.k": 200}``.
    fresh : bool
        Start over: remove what an earlier run of this job left.
    max_row_groups : int, optional
        Row groups of a task, at most; smaller tasks are more evenly spread.
    threads : int
        Threads of a task, and the cores that it takes in the cluster.
    memory : str, optional
        The ceiling of heap memory of each task, such as "512MiB", and of the merging on the driver.
    progress : bool or callable, optional
        As for :func:`bovw.run`; of the merging on the driver.

    Returns
    -------
    Run
    """
    job = Path(job).absolute()
    plan = tasks.plan(job, set=set, fresh=fresh, max_row_groups=max_row_groups, memory=memory)
    done = None
    for kind in plan.kinds:
        with library_errors():
            _run_tasks(plan.n_tasks, _task(job, kind, set, threads, memory), threads)
        done = tasks.merge(job, kind, set=set, memory=memory, progress=progress)
    # A run that was done before has no tasks.
    return done or tasks.merge(job, "featurize", set=set, memory=memory, progress=progress)


def _with_tensors(table: pa.Table) -> pa.Table:
    """The same, its vectors as tensors of one axis; nothing is copied."""
    lists = table.column("features")
    kind = pa.fixed_shape_tensor(pa.float32(), [lists.type.list_size])
    chunks = [pa.ExtensionArray.from_storage(kind, chunk.cast(kind.storage_type)) for chunk in lists.chunks]
    at = table.schema.get_field_index("features")
    return table.set_column(at, "features", pa.chunked_array(chunks, kind))


def _task(
    job: Path, kind: str, set: Mapping[str, Any] | None, threads: int, memory: str | None
) -> Callable[[int], dict]:
    """What runs one task, in a worker."""

    def run_task(number: int) -> dict:
        return tasks.run(job, kind, number, set=set, threads=threads, memory=memory)

    return run_task


def _run_tasks(n_tasks: int, run_task: Callable[[int], dict], threads: int) -> list[dict]:
    """Runs a function of each number below `n_tasks`, each in a task of its own; their reports."""
    remote = ray.remote(num_cpus=threads, scheduling_strategy="SPREAD")(run_task)
    at_once = max(1, int(_QUEUED_PER_CORE * ray.cluster_resources().get("CPU", 1)))
    queued: list[ray.ObjectRef] = []
    reports: list[dict] = []
    try:
        for number in range(n_tasks):
            if len(queued) >= at_once:
                queued = _collect(queued, reports)
            queued.append(remote.remote(number))
        while queued:
            queued = _collect(queued, reports)
    finally:
        for one in queued:
            ray.cancel(one)
    return reports


def _collect(queued: list[ray.ObjectRef], reports: list[dict]) -> list[ray.ObjectRef]:
    """Waits for a task, takes the reports of those that are done, and gives the others."""
    ready, rest = ray.wait(queued)
    reports += ray.get(ready)
    return rest
