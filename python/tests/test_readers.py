"""Every file of a run opens in every reader, with the same values; scripts/check_python takes old readers, too."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import bovw

EVERYTHING = {
    "features.encoding": "triangle",
    "features.weighting": "tf-idf",
    "patches.size": [[3, 3], [5, 5]],
    "input.keep": ["id", "weight", "zero"],
    "cluster": [{"of": "pixels", "k": 3, "n_init": 1}, {"of": "features", "k": 3, "n_init": 1}],
}


@pytest.fixture(scope="module")
def files(digits, tmp_path_factory) -> list[Path]:
    """The Parquet files of a run that has each kind; kept are NaN and zeros of both signs."""
    out = tmp_path_factory.mktemp("readers")
    rows = digits.table.slice(0, 300)
    zeros = np.where(np.arange(300) < 200, -0.0, 0.0)
    rows = rows.append_column("zero", pa.array(zeros))
    rows = rows.append_column("weight", pa.array(np.where(np.arange(300) < 100, np.nan, zeros)))
    pq.write_table(rows, out / "a.parquet")
    run = bovw.run(
        digits.job, set=EVERYTHING | {"input.files": [str(out / "a.parquet")], "output.dir": str(out / "run")}
    )
    found = sorted(run.dir.rglob("*.parquet"))
    # Features; words and their patches for each size; clusters and centroids twice; images and moments.
    assert len(found) == 1 + 2 * 2 + 2 * 2 + 2
    return found


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """The numbers of a column, those of lists one after another."""
    while pa.types.is_nested(column.type):
        column = pc.list_flatten(column)
    return column.to_numpy()


def is_numeric(kind: pa.DataType) -> bool:
    """Whether a column is of numbers or of lists of them."""
    while pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def by_polars(path: Path) -> pa.Table:
    """The file as polars reads it."""
    return pl.read_parquet(path).to_arrow()


def by_duckdb(path: Path) -> pa.Table:
    """The file as DuckDB reads it."""
    found = duckdb.sql(f"from '{path}'").arrow()
    return found if isinstance(found, pa.Table) else found.read_all()


@pytest.mark.parametrize("reader", [by_polars, by_duckdb])
def test_a_reader_reads_what_pyarrow_reads(files, reader):
    for path in files:
        expected, found = pq.read_table(path), reader(path)
        assert found.column_names == expected.column_names
        for name in expected.column_names:
            if is_numeric(expected[name].type):
                np.testing.assert_array_equal(numbers(found[name]), numbers(expected[name]), err_msg=f"{path} {name}")


def test_pandas_reads_what_pyarrow_reads(files):
    for path in files:
        found = pd.read_parquet(path)
        assert len(found) == pq.read_metadata(path).num_rows
        assert list(found.columns) == pq.read_schema(path).names


def test_filters_go_by_statistics_that_hold(files):
    (features,) = (path for path in files if path.parent.name == "features")
    weight, zero = pl.col("weight"), pl.col("zero")
    scan = pl.scan_parquet(features)
    for condition, n in [
        (weight == 0, 200),
        (weight < 0, 0),
        (weight <= 0, 200),
        (weight.is_nan(), 100),
        (zero == 0, 300),
        (zero < 0, 0),
    ]:
        assert len(scan.filter(condition).collect()) == n, str(condition)
    for condition, n in [(("weight", "=", 0.0), 200), (("weight", "<", 0.0), 0), (("zero", ">=", 0.0), 300)]:
        assert pq.read_table(features, filters=[condition]).num_rows == n, condition
    # Of NaN DuckDB makes zeros in some files, pyarrow's among them.
    for condition, n in [("zero = 0", 300), ("zero < 0", 0), ("zero <= 0", 300), ("weight < 0", 0)]:
        assert len(duckdb.sql(f"select id from '{features}' where {condition}").fetchall()) == n, condition
