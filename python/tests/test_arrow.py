"""Arrow data in and out, from every package that has some, without a copy and without a name of any of them."""

from __future__ import annotations

import arro3.core
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bovw


@pytest.fixture(scope="module")
def featurizer(digits):
    return bovw.Featurizer(digits.run.vocabulary)


def vectors_of(table: pa.Table) -> np.ndarray:
    return np.stack(table["features"].to_numpy(zero_copy_only=False))


def test_a_table_becomes_a_table_with_its_other_columns(digits, featurizer):
    made = pa.table(featurizer.transform(digits.table))
    others = [name for name in digits.table.column_names if name != "image"]
    assert made.column_names == [*others, "features", "n_patches"]
    assert made["label"].to_pylist() == digits.table["label"].to_pylist()
    assert made.schema.field("features").type == pa.list_(pa.field("element", pa.float32(), False), 32)
    assert np.array_equal(vectors_of(made), digits.vectors)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table,
        lambda table: table.to_reader(max_chunksize=100),
        lambda table: pl.from_arrow(table),
        lambda table: pl.from_arrow(table).lazy().collect(),
        lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
        lambda table: duckdb.from_arrow(table),
        lambda table: arro3.core.Table.from_arrow(table),
        lambda table: table["image"],
        lambda table: pl.Series([row["bytes"] for row in table["image"].to_pylist()], dtype=pl.Binary),
        lambda table: pa.table({"png": pa.array([row["bytes"] for row in table["image"].to_pylist()])}),
        lambda table: pa.table({"png": pa.array([r["bytes"] for r in table["image"].to_pylist()], pa.large_binary())}),
        lambda table: pa.table({"png": pa.array([r["bytes"] for r in table["image"].to_pylist()], pa.binary_view())}),
    ],
)
def test_data_of_any_package_gives_the_same_vectors(digits, featurizer, change):
    made = pa.table(featurizer.transform(change(digits.table)))
    assert np.array_equal(vectors_of(made), digits.vectors)


@pytest.mark.parametrize("shape", ["list", "fixed_size_list", "tensor", "binary", "float"])
def test_raw_pixels_give_the_same_vectors(digits, featurizer, shape):
    flat = digits.images.reshape(len(digits.images), -1)
    column = {
        "list": lambda: pa.array(flat.tolist(), pa.list_(pa.uint8())),
        "fixed_size_list": lambda: pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), 64),
        "tensor": lambda: pa.FixedShapeTensorArray.from_numpy_ndarray(digits.images),
        "binary": lambda: pa.array([row.tobytes() for row in flat], pa.binary(64)),
        "float": lambda: pa.array(flat.astype(float).tolist()),
    }[shape]()
    made = pa.table(featurizer.transform(pa.table({"pixels": column})))
    assert np.array_equal(vectors_of(made), digits.vectors)


def test_a_column_alone_is_images(digits, featurizer):
    for column in (
        digits.table["image"].combine_chunks(),
        pa.array([row["bytes"] for row in digits.table["image"].to_pylist()]),
    ):
        made = pa.record_batch(featurizer.transform(column))
        assert np.array_equal(vectors_of(made), digits.vectors)


def test_what_comes_out_goes_into_every_package(digits, featurizer):
    batch = featurizer.transform(digits.table.combine_chunks().to_batches()[0])
    assert isinstance(batch, bovw.Batch)
    assert len(batch) == batch.num_rows == len(digits.images)
    assert pa.record_batch(batch).num_rows == len(digits.images)
    assert pl.DataFrame(batch)["features"].to_numpy().shape == (len(digits.images), 32)

    stream = featurizer.transform(digits.table)
    assert isinstance(stream, bovw.Stream)
    assert stream.column_names[-2:] == ["features", "n_patches"]
    frame = pl.DataFrame(stream)
    assert np.array_equal(frame["features"].to_numpy(), digits.vectors)

    made = featurizer.transform(digits.table)
    counted = duckdb.sql("select label, count(*) as n from made group by label order by label").fetchall()
    assert [n for _, n in counted] == np.bincount(digits.labels).tolist()

    pandas_frame = pd.DataFrame.from_arrow(featurizer.transform(digits.table))
    assert np.array_equal(np.stack(pandas_frame["features"]), digits.vectors)

    written = pa.RecordBatchReader.from_stream(featurizer.transform(digits.table))
    assert written.read_all().num_rows == len(digits.images)


def test_vectors_leave_without_a_copy(digits, featurizer):
    batch = featurizer.transform(digits.table.combine_chunks().to_batches()[0])
    first, second = (pa.record_batch(batch)["features"].values.buffers()[1].address for _ in range(2))
    assert first == second


def test_a_stream_is_made_as_it_is_read_and_read_once(digits, featurizer):
    batches = digits.table.to_batches(max_chunksize=50)
    taken = []

    def source():
        for batch in batches:
            taken.append(len(batch))
            yield batch

    stream = featurizer.transform(pa.RecordBatchReader.from_batches(digits.table.schema, source()))
    assert len(taken) == 1, "the first batch tells the schema, no other is read yet"
    reader = pa.RecordBatchReader.from_stream(stream)
    reader.read_next_batch()
    reader.read_next_batch()
    assert len(taken) == 2
    with pytest.raises(ValueError, match="was read already"):
        pa.table(stream)


def test_spark_s_lists_are_lists(digits, featurizer):
    made = pa.table(featurizer.transform(digits.table, layout="list"))
    assert pa.types.is_list(made.schema.field("features").type)
    assert np.array_equal(vectors_of(made), digits.vectors)
    with pytest.raises(bovw.JobError, match="layout"):
        featurizer.transform(digits.table, layout="lists")


def test_empty_data_has_the_schema_of_any_other(digits, featurizer):
    schema = pa.table(featurizer.transform(digits.table)).schema
    for empty in (
        digits.table.slice(0, 0),
        digits.table.schema.empty_table(),
        digits.table.to_reader().schema.empty_table(),
    ):
        assert pa.table(featurizer.transform(empty)).schema == schema
    batch = pa.record_batch(featurizer.transform(digits.table.to_batches()[0].slice(0, 0)))
    assert batch.schema == schema
    assert batch.num_rows == 0


def test_missing_images_are_an_exception_zeros_or_gone(digits):
    images = digits.table["image"].to_pylist()[:5]
    images[2] = None
    table = pa.table({"image": pa.array(images, digits.table.schema.field("image").type), "row": range(5)})
    words = digits.run.vocabulary
    with pytest.raises(bovw.BadImageError, match="row 2.*null"):
        bovw.Featurizer(words).transform(table.to_batches()[0])
    kept = pa.table(bovw.Featurizer(words, on_bad_image="zero").transform(table))
    assert [status is None for status in kept["status"].to_pylist()] == [True, True, False, True, True]
    assert not vectors_of(kept)[2].any()
    gone = pa.table(bovw.Featurizer(words, on_bad_image="drop").transform(table))
    assert gone["row"].to_pylist() == [0, 1, 3, 4]


def test_a_bad_image_in_a_later_batch_ends_the_reading_with_its_reason(digits, featurizer):
    images = digits.table["image"].to_pylist()[:100]
    images[70] = {"bytes": b"no image", "path": None}
    table = pa.table({"image": pa.array(images, digits.table.schema.field("image").type)})
    stream = featurizer.transform(table.to_reader(max_chunksize=50))
    with pytest.raises(Exception, match="row 20.*not an image"):
        pa.table(stream)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (pa.table({"label": [1, 2]}), "no column holds images"),
        (pa.table({"a": [b"\x89PNG\r\n\x1a\n"], "b": [b"\x89PNG\r\n\x1a\n"]}), '"a" and "b"'),
        (pa.table({"image": [b"\x89PNG\r\n\x1a\n"], "features": [1]}), "rename it"),
        (pa.table({"pixels": [[1, 2, 3]]}), "no square image"),
    ],
)
def test_columns_that_cannot_be_used_are_told_by_name(featurizer, table, told):
    with pytest.raises(ValueError, match=told):
        featurizer.transform(table.to_batches()[0])


def test_a_column_called_status_stays_where_none_is_added(digits):
    table = digits.table.append_column("status", digits.table["label"])
    made = pa.table(bovw.Featurizer(digits.run.vocabulary).transform(table))
    assert made["status"].to_pylist() == digits.labels.tolist()
    with pytest.raises(ValueError, match="rename it"):
        bovw.Featurizer(digits.run.vocabulary, on_bad_image="zero").transform(table)


@pytest.fixture
def files(digits, tmp_path) -> tuple[str, str]:
    """The words and the images of the digits."""
    words = tmp_path / "words.parquet"
    digits.run.vocabulary.save(words)
    file = tmp_path / "images.parquet"
    pq.write_table(digits.table, file)
    return str(words), str(file)


def test_ctrl_c_is_heard_between_the_batches_of_a_stream(python, files):
    assert float(python(INTERRUPTED, *files)) < 3


INTERRUPTED = """
import os, signal, sys, threading, time
import bovw, pyarrow as pa, pyarrow.parquet as pq

featurizer = bovw.Featurizer(sys.argv[1], encoding="triangle", threads=1)
table = pa.concat_tables([pq.read_table(sys.argv[2])] * 3000)
stream = featurizer.transform(table)
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
start = time.perf_counter()
try:
    for _ in pa.RecordBatchReader.from_stream(stream):
        pass
    print("inf")
except (KeyboardInterrupt, OSError, pa.ArrowInvalid):
    try:
        time.sleep(0.2)
    except KeyboardInterrupt:
        pass
    print(time.perf_counter() - start)
"""


def test_an_image_column_can_be_named(digits):
    table = digits.table.append_column("other", digits.table["image"]).replace_schema_metadata(None)
    with pytest.raises(ValueError, match="several columns"):
        bovw.Featurizer(digits.run.vocabulary).transform(table)
    named = bovw.Featurizer(digits.run.vocabulary, image="other")
    assert np.array_equal(vectors_of(pa.table(named.transform(table))), digits.vectors)
    with pytest.raises(ValueError, match="no column"):
        bovw.Featurizer(digits.run.vocabulary, image="picture").transform(table)


def test_memory_stays_flat_however_long_a_stream_is(python, files):
    grown = python(FLAT, *files)
    assert float(grown) < 8e6, f"{grown} bytes more after 40 times as many images"


FLAT = """
import sys
import bovw, pyarrow as pa, pyarrow.parquet as pq

featurizer = bovw.Featurizer(sys.argv[1], threads=1)
table = pq.read_table(sys.argv[2])

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))

def stream(times):
    batches = (batch for _ in range(times) for batch in table.to_batches(max_chunksize=200))
    reader = pa.RecordBatchReader.from_batches(table.schema, batches)
    for _ in pa.RecordBatchReader.from_stream(featurizer.transform(reader)):
        pass
    for batch in table.to_batches(max_chunksize=200):
        featurizer.transform(batch)
    for _ in range(times):
        learner = bovw.Learner(k=4, patch=3, max_patches=2000, threads=1)
        learner.add(table)
        learner.sketch()

stream(3)
before = anonymous()
stream(40)
print(anonymous() - before)
"""
