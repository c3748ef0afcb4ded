"""bovw.ray on two raylets, against `bovw run`."""

from __future__ import annotations

import logging
import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

import engines
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
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
from ray.cluster_utils import Cluster

import bovw
import bovw.ray

pytestmark = pytest.mark.filterwarnings("ignore")
OBJECT_STORE = 150 << 20


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> Arms:
    return Arms(tmp_path_factory.mktemp("arms"))


@pytest.fixture(scope="module", autouse=True)
def cluster(arms: Arms) -> Iterator[Cluster]:
    with engines.environment({**arms.environment(), "RAY_USAGE_STATS_ENABLED": "0"}):
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 1, "object_store_memory": OBJECT_STORE, "include_dashboard": False},
        )
        cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        # Blocks of the digits as small as those of real data are beside a cluster.
        context.target_min_block_size, context.target_max_block_size = 1, 20 << 10
        yield cluster
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bovw.Run:
    return run_digits(tmp_path_factory.mktemp("expected") / "out")


@pytest.fixture(scope="module")
def digits(cluster: Cluster) -> ray.data.Dataset:
    return ray.data.read_parquet([str(path) for path in SHARDS])


def rows_of(ds: ray.data.Dataset) -> pa.Table:
    return engines.by_id(pa.concat_tables(ray.get(ds.to_arrow_refs())))


def lists(ds: ray.data.Dataset, words: object, **settings: Any) -> ray.data.Dataset:
    return bovw.ray.featurize(ds, words, layout="fixed_size_list", **settings)


def test_vectors_are_those_of_a_run(digits: ray.data.Dataset, expected: bovw.Run) -> None:
    made = lists(digits, expected.vocabulary).materialize()
    assert made.columns() == ["label", "id", "features", "n_patches"]
    assert made.num_blocks() > 1
    assert_same_vectors(rows_of(made), engines.vectors(expected))


def test_vectors_survive_a_worker(digits: ray.data.Dataset, expected: bovw.Run, arms: Arms) -> None:
    with arms.kills_one("transform-after"):
        made = rows_of(lists(digits, expected.vocabulary, batch_size=100))
    assert_same_vectors(made, engines.vectors(expected))


def test_vectors_in_any_blocks(digits: ray.data.Dataset, expected: bovw.Run) -> None:
    mixed = digits.random_shuffle(seed=1).repartition(5)
    made = lists(mixed, expected.dir / "vocabulary.parquet", concurrency=1)
    assert_same_vectors(rows_of(made), engines.vectors(expected))


def test_settings_of_the_vectors(digits: ray.data.Dataset, expected: bovw.Run) -> None:
    settings = {"pooling": [2, 2], "weighting": "hellinger", "image": "image", "threads": 2}
    made = rows_of(lists(digits, expected.vocabulary, **settings))
    direct = pa.table(bovw.Featurizer(expected.vocabulary, **settings).transform(pq.read_table(SHARDS)))
    assert made["features"].to_pylist() == direct["features"].to_pylist()


def test_vectors_as_one_matrix(digits: ray.data.Dataset, expected: bovw.Run) -> None:
    batch = bovw.ray.featurize(digits, expected.vocabulary).take_batch(10)
    assert batch["features"].dtype == np.float32
    assert batch["features"].shape == (10, 32)
    by_number = dict(zip(*engines.vectors(expected).select(["id", "features"]).to_pydict().values(), strict=True))
    assert batch["features"].tolist() == [by_number[number] for number in batch["id"]]
    with pytest.raises(bovw.JobError, match="layout"):
        bovw.ray.featurize(digits, expected.vocabulary, layout="list")


def test_files_that_are_vectors(digits: ray.data.Dataset, expected: bovw.Run, tmp_path: Path) -> None:
    lists(digits, expected.vocabulary).write_parquet(str(tmp_path))
    made = pq.read_table(tmp_path)
    assert made.schema.field("features").type == engines.vectors(expected).schema.field("features").type
    assert_same_vectors(made, engines.vectors(expected))


def test_bad_images(expected: bovw.Run, tmp_path: Path) -> None:
    bad = ray.data.read_parquet(str(bad_shard(tmp_path / "bad.parquet")))
    with pytest.raises(Exception, match=r'column "image", row 1: bad image.*'):
        bovw.ray.featurize(bad, expected.vocabulary).materialize()
    kept = rows_of(lists(bad, expected.vocabulary, on_bad_image="zero")).to_pylist()
    assert [row["status"] is None for row in kept] == [True, False, False]
    assert [sum(row["features"]) for row in kept] == [36, 0, 0]
    assert lists(bad, expected.vocabulary, on_bad_image="drop").count() == 1


def test_what_cannot_work(digits: ray.data.Dataset, expected: bovw.Run) -> None:
    with pytest.raises(Exception, match='no column "picture"'):
        bovw.ray.featurize(digits, expected.vocabulary, image="picture").materialize()
    with pytest.raises(bovw.JobError, match="pooling"):
        bovw.ray.featurize(digits, expected.vocabulary, pooling=[0, 1])
    with pytest.raises(bovw.BovwError):
        bovw.ray.featurize(digits, SHARDS[0])
    with pytest.raises(TypeError, match="colour"):
        bovw.ray.featurize(digits, expected.vocabulary, colour="grey")


def test_words_are_those_of_a_run(digits: ray.data.Dataset, expected: bovw.Run, arms: Arms) -> None:
    with arms.kills_one("add-after"):
        made = bovw.ray.learn(digits, rows="id", image="image", **LEARNING)
    assert_same_words(made, expected.vocabulary)


def test_words_of_a_bounded_sample(digits: ray.data.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrived = counting_sketches(monkeypatch)
    run = run_digits(tmp_path / "out", **{"sample.max_patches": MAX_PATCHES})
    made = bovw.ray.learn(digits.repartition(40), rows="id", max_patches=MAX_PATCHES, **LEARNING)
    assert arrived == [1]
    assert_same_words(made, run.vocabulary)


def test_words_without_numbers_of_images(digits: ray.data.Dataset) -> None:
    one = bovw.ray.learn(digits.repartition(1), image="image", **LEARNING)
    other = bovw.ray.learn(digits.random_shuffle(seed=2).repartition(3), image="image", **LEARNING)
    assert_same_words(one, other)


def test_learning_that_cannot_work(digits: ray.data.Dataset, tmp_path: Path) -> None:
    with pytest.raises(bovw.JobError):
        bovw.ray.learn(digits, **{**LEARNING, "k": 0})
    with pytest.raises(bovw.JobError, match="tf-idf"):
        bovw.ray.learn(digits, weighting="tf-idf", **LEARNING)
    with pytest.raises(bovw.DataError, match='column "number": is missing'):
        bovw.ray.learn(digits, rows="number", **LEARNING)
    bad = ray.data.read_parquet(str(bad_shard(tmp_path / "bad.parquet")))
    with pytest.raises(bovw.BadImageError, match="bad image"):
        bovw.ray.learn(bad, rows="id", **LEARNING)


def test_a_job_is_the_same_files(expected: bovw.Run, arms: Arms, tmp_path: Path) -> None:
    sets = {"output.dir": str(tmp_path / "out")}
    with arms.kills_one("run-within"), arms.kills_one("run-after"):
        made = bovw.ray.run(JOB, set=sets, max_row_groups=1)
    assert results(made) == results(expected)
    again = bovw.ray.run(JOB, set=sets)
    assert results(again) == results(expected)
    assert again.manifest == made.manifest


def test_tasks_twice_and_in_disorder(expected: bovw.Run, tmp_path: Path) -> None:
    from bovw import tasks

    sets = {"output.dir": str(tmp_path / "out")}
    plan = tasks.plan(JOB, set=sets, max_row_groups=1)
    order = repeated_in_disorder(plan.n_tasks)
    for kind in plan.kinds:
        task = bovw.ray._task(JOB, kind, sets, 1, None)
        bovw.ray._run_tasks(len(order), lambda at, task=task: task(order[at]), 1)
        made = tasks.merge(JOB, kind, set=sets)
    assert results(made) == results(expected)


def test_a_job_that_cannot_work(tmp_path: Path) -> None:
    with pytest.raises(bovw.JobError, match=r"vocabulary\.k"):
        bovw.ray.run(JOB, set={"output.dir": str(tmp_path / "out"), "vocabulary.k": 0})
    files = str(bad_shard(tmp_path / "bad.parquet"))
    with pytest.raises(bovw.BadImageError, match="bad image"):
        bovw.ray.run(JOB, set={"output.dir": str(tmp_path / "out"), "input.files": [files], "cluster": []})


def test_the_example(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ray_job.py", str(engines.REPOSITORY), str(tmp_path)])
    runpy.run_path(os.fspath(engines.REPOSITORY / "python" / "examples" / "ray_job.py"), run_name="__main__")
