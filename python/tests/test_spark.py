"""bovw.spark on two executor processes, against `bovw run`."""

from __future__ import annotations

import datetime
import decimal
import os
import runpy
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyspark")
if shutil.which("java") is None:
    pytest.skip("Spark needs Java", allow_module_level=True)

import engines
import pyarrow as pa
import pyarrow.parquet as pq
from engines import (
    JOB,
    LEARNING,
    MAX_PATCHES,
    SHARDS,
    Arms,
    assert_same_vectors,
    assert_same_words,
    bad_shard,
    counting_sketches,
    repeated_in_disorder,
    results,
    run_digits,
)
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import rand
from pyspark.sql.types import ArrayType, FloatType, IntegerType

import bovw
import bovw.spark


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> Arms:
    return Arms(tmp_path_factory.mktemp("arms"))


@pytest.fixture(scope="module")
def spark(arms: Arms) -> Iterator[SparkSession]:
    python = {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    with engines.environment(python):
        builder = SparkSession.builder.master("local-cluster[2,1,768]")
        for name, value in arms.environment().items():
            builder = builder.config(f"spark.executorEnv.{name}", value)
        settings = {
            "spark.executor.memory": "768m",
            "spark.ui.enabled": "false",
            "spark.sql.shuffle.partitions": "4",
            "spark.sql.files.maxPartitionBytes": "64k",
            "spark.sql.execution.arrow.maxRecordsPerBatch": "100",
            "spark.log.level": "OFF",
        }
        for name, value in settings.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        yield session
        session.stop()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bovw.Run:
    return run_digits(tmp_path_factory.mktemp("expected") / "out")


@pytest.fixture(scope="module")
def digits(spark: SparkSession) -> DataFrame:
    return spark.read.parquet(*map(str, SHARDS))


def test_vectors_are_those_of_a_run(digits: DataFrame, expected: bovw.Run) -> None:
    made = bovw.spark.featurize(digits, expected.vocabulary)
    assert made.columns == ["label", "id", "features", "n_patches"]
    assert made.schema["features"].dataType == ArrayType(FloatType(), containsNull=False)
    assert made.schema["n_patches"].dataType == IntegerType()
    assert made.rdd.getNumPartitions() > 1
    assert_same_vectors(made.toArrow(), engines.vectors(expected))


def test_vectors_survive_a_worker(digits: DataFrame, expected: bovw.Run, arms: Arms) -> None:
    with arms.kills_one("transform-after"):
        made = bovw.spark.featurize(digits, expected.vocabulary).toArrow()
    assert_same_vectors(made, engines.vectors(expected))


def test_vectors_in_any_partitions(digits: DataFrame, expected: bovw.Run) -> None:
    made = bovw.spark.featurize(digits.orderBy(rand(3)).repartition(5), expected.dir / "vocabulary.parquet")
    assert_same_vectors(made.toArrow(), engines.vectors(expected))


def test_settings_of_the_vectors(digits: DataFrame, expected: bovw.Run) -> None:
    settings = {"pooling": [2, 2], "weighting": "hellinger", "image": "image", "threads": 2}
    some = digits.where("id < 50")
    made = engines.by_id(bovw.spark.featurize(some, expected.vocabulary, **settings).toArrow())
    rows = some.orderBy("id").toArrow()
    direct = pa.table(bovw.Featurizer(expected.vocabulary, **settings).transform(rows))
    assert made["features"].to_pylist() == direct["features"].to_pylist()


def test_vectors_for_spark_itself(digits: DataFrame, expected: bovw.Run) -> None:
    from pyspark.ml.functions import array_to_vector

    made = bovw.spark.featurize(digits.limit(5), expected.vocabulary).withColumn("v", array_to_vector("features"))
    for row in made.collect():
        np.testing.assert_array_equal(row.v.toArray(), row.features)


def test_files_as_spark_reads_them(spark: SparkSession, tmp_path: Path, expected: bovw.Run) -> None:
    image = pq.read_table(SHARDS[0], columns=["image"])["image"][0].as_py()["bytes"]
    (tmp_path / "digit.png").write_bytes(image)
    (row,) = bovw.spark.featurize(
        spark.read.format("binaryFile").load(str(tmp_path)), expected.vocabulary, image="content"
    ).collect()
    assert row.path.endswith("digit.png")
    assert row.n_patches == 36


def test_other_columns_stay_as_they_are(digits: DataFrame, spark: SparkSession, expected: bovw.Run) -> None:
    image = digits.first().image.bytes
    at = datetime.datetime(2020, 1, 2, 3, 4, 5, 678)
    values = (image, at, at.date(), decimal.Decimal("12.34"), [1, None], {"a": 1.5}, (1, "x"), None, True, 1, b"\0")
    schema = (
        "image binary, at timestamp, day date, price decimal(10,2), list array<int>, map map<string,double>, "
        "struct struct<a: int, b: string>, nothing string, flag boolean, tiny tinyint, more binary"
    )
    df = spark.createDataFrame([values], schema)
    made = bovw.spark.featurize(df, expected.vocabulary, image="image")
    assert made.schema[:-2] == df.schema[1:]
    assert made.drop("features", "n_patches").collect() == df.drop("image").collect()


def test_bad_images(spark: SparkSession, expected: bovw.Run, tmp_path: Path) -> None:
    df = spark.read.parquet(str(bad_shard(tmp_path / "bad.parquet")))
    with pytest.raises(Exception, match=r'column "image", row 1: bad image.*'):
        bovw.spark.featurize(df, expected.vocabulary).collect()
    kept = bovw.spark.featurize(df, expected.vocabulary, on_bad_image="zero").orderBy("id").collect()
    assert [row.status is None for row in kept] == [True, False, False]
    assert [sum(row.features) for row in kept] == [36, 0, 0]
    assert bovw.spark.featurize(df, expected.vocabulary, on_bad_image="drop").count() == 1


def test_what_cannot_work_is_refused_at_once(digits: DataFrame, expected: bovw.Run) -> None:
    with pytest.raises(bovw.DataError, match='no column "picture"'):
        bovw.spark.featurize(digits, expected.vocabulary, image="picture")
    with pytest.raises(bovw.JobError, match="pooling"):
        bovw.spark.featurize(digits, expected.vocabulary, pooling=[0, 1])
    with pytest.raises(bovw.BovwError):
        bovw.spark.featurize(digits, SHARDS[0])
    with pytest.raises(TypeError, match="colour"):
        bovw.spark.featurize(digits, expected.vocabulary, colour="grey")


def test_words_are_those_of_a_run(digits: DataFrame, expected: bovw.Run, arms: Arms) -> None:
    with arms.kills_one("add-after"):
        made = bovw.spark.learn(digits, rows="id", image="image", **LEARNING)
    assert_same_words(made, expected.vocabulary)


def test_words_of_a_bounded_sample(digits: DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrived = counting_sketches(monkeypatch)
    run = run_digits(tmp_path / "out", **{"sample.max_patches": MAX_PATCHES})
    made = bovw.spark.learn(digits.repartition(40), rows="id", max_patches=MAX_PATCHES, **LEARNING)
    assert arrived == [1]
    assert_same_words(made, run.vocabulary)


def test_words_without_numbers_of_images(digits: DataFrame) -> None:
    some = digits.where("id < 600")
    one = bovw.spark.learn(some.coalesce(1), image="image", **LEARNING)
    other = bovw.spark.learn(some.orderBy(rand(5)).repartition(3), image="image", **LEARNING)
    assert_same_words(one, other)


def test_learning_that_cannot_work(digits: DataFrame, spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(bovw.JobError):
        bovw.spark.learn(digits, **{**LEARNING, "k": 0})
    with pytest.raises(bovw.JobError, match="tf-idf"):
        bovw.spark.learn(digits, weighting="tf-idf", **LEARNING)
    with pytest.raises(bovw.DataError, match='column "number": is missing'):
        bovw.spark.learn(digits, rows="number", **LEARNING)
    bad = spark.read.parquet(str(bad_shard(tmp_path / "bad.parquet")))
    with pytest.raises(bovw.BadImageError, match="bad image"):
        bovw.spark.learn(bad, rows="id", **LEARNING)


def test_a_job_is_the_same_files(spark: SparkSession, expected: bovw.Run, arms: Arms, tmp_path: Path) -> None:
    sets = {"output.dir": str(tmp_path / "out")}
    with arms.kills_one("run-within"), arms.kills_one("run-after"):
        made = bovw.spark.run(spark, JOB, set=sets, max_row_groups=1)
    assert results(made) == results(expected)
    again = bovw.spark.run(spark, JOB, set=sets)
    assert results(again) == results(expected)
    assert again.manifest == made.manifest


def test_tasks_twice_and_in_disorder(spark: SparkSession, expected: bovw.Run, tmp_path: Path) -> None:
    from bovw import tasks

    sets = {"output.dir": str(tmp_path / "out")}
    plan = tasks.plan(JOB, set=sets, max_row_groups=1)
    order = repeated_in_disorder(plan.n_tasks)
    for kind in plan.kinds:
        task = bovw.spark._task(JOB, kind, sets, None)
        bovw.spark._run_tasks(spark, len(order), lambda at, task=task: task(order[at]))
        made = tasks.merge(JOB, kind, set=sets)
    assert results(made) == results(expected)


def test_a_job_that_cannot_work(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(bovw.JobError, match=r"vocabulary\.k"):
        bovw.spark.run(spark, JOB, set={"output.dir": str(tmp_path / "out"), "vocabulary.k": 0})
    files = str(bad_shard(tmp_path / "bad.parquet"))
    with pytest.raises(bovw.BadImageError, match="bad image"):
        bovw.spark.run(spark, JOB, set={"output.dir": str(tmp_path / "out"), "input.files": [files], "cluster": []})


def test_the_example(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["spark_job.py", str(engines.REPOSITORY), str(tmp_path)])
    runpy.run_path(os.fspath(engines.REPOSITORY / "python" / "examples" / "spark_job.py"), run_name="__main__")
