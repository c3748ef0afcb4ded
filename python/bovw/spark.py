"""bovw inside Spark: vectors and words of a DataFrame of images, and whole jobs as Spark tasks.

The package has to be installed where the executors run (``pip install bovw[spark]``). Settings of the session that are
worth a look:

- ``spark.sql.execution.arrow.maxRecordsPerBatch`` (10 000 rows) and ``maxBytesPerBatch``: how many images pass to a
  Python worker at once. For images of more than some kilobytes set the first to 1 000 or fewer, or the second to 64m: a
  worker holds two or three batches.
- ``spark.task.cpus``: threads of one task; 1 is best where there are more partitions than cores.
- ``spark.executor.memoryOverhead``: what Python workers may take beside the JVM; 256 MiB a task slot are enough for
  small images.
- ``spark.python.worker.reuse`` (true): leave it, so that words are read once a process.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark import Broadcast, SparkContext, TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import ArrayType, FloatType, IntegerType, StringType, StructField, StructType

from . import _engines, tasks
from ._engines import FAN, Recipe, library_errors
from ._learn import Words
from ._run import Progress, Run

Batches = Iterator[pa.RecordBatch]

_ADDED = {
    "features": StructField("features", ArrayType(FloatType(), containsNull=False), nullable=False),
    "n_patches": StructField("n_patches", IntegerType(), nullable=False),
    "status": StructField("status", StringType(), nullable=True),
}

# Partitions that a DataFrame is taken to have where it does not say, as over Spark Connect.
_PARTITIONS = 256


def featurize(df: DataFrame, vocabulary: Any, **settings: Any) -> DataFrame:
    """Vectors of a DataFrame's images: the image column is replaced by ``features``, all other columns stay.

    Lazy, like any DataFrame. Rows go to Python workers as Arrow batches (mapInArrow) and come back without the images;
    select the columns that are wanted beforehand. Words and settings are checked here, on the driver; the words go to
    each executor once (a broadcast variable of some kilobytes) and are read once a worker process.

    Parameters
    ----------
    df : DataFrame
        Images in a binary column (files of PNG, JPEG and so on, or raw pixels), a struct of ``bytes`` and ``path``, a
        list column of pixels, or one column a pixel; what ``spark.read.format("binaryFile")`` gives does as well.
    vocabulary : Vocabulary, path, or a list of them
        The words; a path is read on the driver.
    **settings
        Those of :class:`bovw.Featurizer`: ``image``, ``shape``, ``on_bad_image``, ``encoding``, ``pooling``,
        ``weighting`` and so on. ``threads`` is as many as ``spark.task.cpus`` if left out.

    Returns
    -------
    DataFrame
        All other columns, ``features`` (``array<float>``), ``n_patches`` (``int``), and with ``on_bad_image="zero"``
        ``status`` (``string``: null, or why the vector is zeros).

    Raises
    ------
    JobError, DataError
        At once, for settings that cannot work and columns that are missing. A bad image ends the Spark job that meets
        it with a ``PythonException`` that has the message.

    Examples
    --------
    >>> vectors = bovw.spark.featurize(spark.read.parquet("shards/"), "out/job/vocabulary.parquet", pooling=[2, 2])
    >>> vectors.write.parquet("vectors/")

    Spark's own machine learning takes dense vectors:

    >>> from pyspark.ml.functions import array_to_vector
    >>> vectors.withColumn("features", array_to_vector("features"))
    """
    spark = df.sparkSession
    featurizer, words = _engines.checked(vocabulary, settings)
    made = _engines.schema_of_result(featurizer, df.limit(0).toArrow().schema, "list")
    schema = StructType([_ADDED[name] if name in _added(settings) else df.schema[name] for name in made.names])
    recipe = Recipe(_broadcast(spark, words), settings)

    def vectors(batches: Batches) -> Batches:
        featurizer = recipe.featurizer(_received, _task_threads())
        for batch in batches:
            yield pa.record_batch(featurizer.transform(batch, layout="list"))

    return df.mapInArrow(vectors, schema)


def learn(df: DataFrame, *, rows: str | None = None, progress: Progress = None, **settings: Any) -> Words:
    """Learns words from a DataFrame's images.

    Each partition gives a sketch: the patches of the sample that it has. With ``max_patches`` a sketch has at most so
    many (those with the smallest hashes), sketches are merged sixteen at a time on the executors, and one reaches the
    driver: ``max_patches`` times the values of a patch, and 16 bytes more each. Without it the whole sample comes to
    the driver. The words are learned there, on its cores; ``spark.driver.maxResultSize`` has to allow for the sketch.

    Parameters
    ----------
    df : DataFrame
        Images, as for :func:`featurize`. With ``image`` given only that column, and `rows`, go to Python.
    rows : str, optional
        An integer column with each image's number. With the numbers 0, 1, 2... in the order of a job's shards, the
        words are those of ``bovw run``, byte for byte. Without it an image's number is a hash of its pixels: the words
        do not depend on partitions or order either, and an image that is there twice counts once.
    progress : bool or callable, optional
        As for :func:`bovw.run`; of the learning on the driver.
    **settings
        Those of :class:`bovw.Learner`: ``k``, ``patch``, ``per_image``, ``max_patches``, ``seed`` and so on.

    Returns
    -------
    Vocabulary, or a list of them where ``patch`` is several sizes.
    """
    _engines.check_learner(settings, df.limit(0).toArrow().schema, rows)
    if settings.get("image") is not None:
        df = df.select(settings["image"], *([rows] if rows else []))

    def sketch(batches: Batches) -> Batches:
        yield _engines.sketched(batches, settings, rows, _task_threads())

    def merge(batches: Batches) -> Batches:
        yield _engines.merged(batches, settings)

    with library_errors():
        sketches = df.mapInArrow(sketch, "sketch binary")
        if settings.get("max_patches") is not None:
            for n in _rounds(_partitions(sketches)):
                sketches = sketches.repartition(n).mapInArrow(merge, "sketch binary")
        return _engines.learned([sketches.toArrow()], settings, progress)


def run(
    spark: SparkSession,
    job: str | os.PathLike,
    *,
    set: Mapping[str, Any] | None = None,
    fresh: bool = False,
    max_row_groups: int | None = None,
    memory: str | None = None,
    progress: Progress = None,
) -> Run:
    """Runs a job file as Spark tasks, with the same files as ``bovw run``, byte for byte.

    Pixels pass neither through the JVM nor over Spark's network: a task is a file and a range of its row groups, and
    its Python worker reads them itself. Job, inputs and output have to be on a file system that driver and executors
    see under the same paths. Between driver and executors go task numbers and a few hundred bytes of report a task;
    sketches and state go through ``.bovw-tasks`` in the output directory. What is done stays done: tasks may be run
    twice, killed or started speculatively, and the same call goes on where it was interrupted.

    Parameters
    ----------
    spark : SparkSession
        Where the tasks run; ``spark.task.cpus`` is the threads of each.
    job : path
        The job file.
    set : mapping, optional
        Keys of the job and their values, such as ``{"vocabulary.k": 200}``.
    fresh : bool
        Start over: remove what an earlier run of this job left.
    max_row_groups : int, optional
        Row groups of a task, at most; smaller tasks are more evenly spread.
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
            _run_tasks(spark, plan.n_tasks, _task(job, kind, set, memory))
        done = tasks.merge(job, kind, set=set, memory=memory, progress=progress)
    # A run that was done before has no tasks.
    return done or tasks.merge(job, "featurize", set=set, memory=memory, progress=progress)


def _task(job: Path, kind: str, set: Mapping[str, Any] | None, memory: str | None) -> Callable[[int], dict]:
    """What runs one task, in a worker."""

    def run_task(number: int) -> dict:
        return tasks.run(job, kind, number, set=set, threads=_task_threads(), memory=memory)

    return run_task


def _run_tasks(spark: SparkSession, n_tasks: int, run_task: Callable[[int], dict]) -> list[dict]:
    """Runs a function of each number below `n_tasks`, each in a partition of its own; their reports."""
    n_partitions = max(n_tasks, 1)
    context = _context(spark)
    if context is not None:
        return context.parallelize(range(n_tasks), n_partitions).map(run_task).collect()

    def reports(batches: Batches) -> Batches:
        for batch in batches:
            told = [json.dumps(run_task(number)) for number in batch.column("id").to_pylist()]
            yield pa.record_batch({"report": pa.array(told, pa.string())})

    numbers = spark.range(0, n_tasks, 1, numPartitions=n_partitions)
    return [json.loads(row.report) for row in numbers.mapInArrow(reports, "report string").collect()]


def _added(settings: Mapping[str, Any]) -> set:
    return set(_ADDED) if settings.get("on_bad_image") == "zero" else {"features", "n_patches"}


def _context(spark: SparkSession) -> SparkContext | None:
    """The session's context; a session over Spark Connect has none."""
    try:
        return spark.sparkContext
    except Exception:  # whichever way a version of Spark says so
        return None


def _broadcast(spark: SparkSession, words: list[bytes]) -> Broadcast | list[bytes]:
    """The words as a broadcast variable; over Spark Connect, which has none, as they are."""
    context = _context(spark)
    return words if context is None else context.broadcast(words)


def _received(held: Broadcast | list[bytes]) -> list[bytes]:
    return held if isinstance(held, list) else held.value


def _task_threads() -> int:
    context = TaskContext.get()
    return context.cpus() if context is not None else 1


def _partitions(df: DataFrame) -> int:
    return _PARTITIONS if _context(df.sparkSession) is None else df.rdd.getNumPartitions()


def _rounds(n: int) -> Iterable[int]:
    """Partitions after each round of merging, down to one."""
    while n > 1:
        n = math.ceil(n / FAN)
        yield n
