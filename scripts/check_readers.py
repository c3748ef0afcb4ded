"""Opens a run's files with the tools that people use and checks that each of them sees the same, right, values.

A file that only its writer can read is no result. Each reader goes through its own ordinary door, and what it gives is
compared with what pyarrow gives, bit for bit.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from run_dir import RunDir, fixed_size_lists

SKLEARN_ROWS = 5000


@dataclass
class Report:
    """What was checked with what, and what came out."""

    results: dict[str, dict[str, str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def check(self, reader: str, name: str, passed: bool, detail: str = "") -> None:
        """Notes one check; several under one name are one cell of the table, which fails if one of them does."""
        cells = self.results.setdefault(reader, {})
        if not passed:
            cells[name] = "FAIL"
            self.failures.append(f"{reader}, {name}: {detail or 'not as expected'}")
        elif cells.get(name) != "FAIL":
            cells[name] = "ok"

    @contextmanager
    def guard(self, reader: str) -> Iterator[None]:
        """Turns a reader's exception into a failed check, so that the others still have their turn."""
        self.check(reader, "opens", True)
        try:
            yield
        except Exception as error:  # whatever a library throws is the finding
            self.check(reader, "opens", False, f"{type(error).__name__}: {error}")

    def table(self) -> str:
        """Readers down, checks across."""
        names = list(dict.fromkeys(name for cells in self.results.values() for name in cells))
        rows = [["reader", *names]]
        rows += [[reader, *(cells.get(name, "-") for name in names)] for reader, cells in self.results.items()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(lines)


@dataclass(frozen=True)
class Expected:
    """What every reader has to see: the files as pyarrow gives them, which is checked first."""

    files: list[Path]
    vocabulary_file: Path
    features: NDArray[np.float32]
    n_patches: NDArray[np.int32]
    labels: NDArray[Any] | None
    label: str | None
    label_names: list[str] | None
    centroids: NDArray[np.float32]

    @property
    def k(self) -> int:
        """Length of a vector."""
        return self.features.shape[1]

    @property
    def d(self) -> int:
        """Length of a word."""
        return self.centroids.shape[1]


def same(found: Any, expected: NDArray[Any]) -> bool:  # noqa: ANN401 - whatever a reader gives
    """Equal in shape, type and every value."""
    found = np.asarray(found)
    return found.dtype == expected.dtype and np.array_equal(found, expected)


def hf_features(schema: pa.Schema) -> dict[str, Any]:
    """The columns as a file describes them to Hugging Face; empty where it does not."""
    described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    return (described.get("info") or {}).get("features") or {}


def label_column(run: RunDir, schema: pa.Schema) -> str | None:
    """The label column of the features files, if any."""
    named = run.setting("input", "label")
    if named:
        return named
    classes = [name for name, feature in hf_features(schema).items() if feature.get("_type") == "ClassLabel"]
    return next((name for name in (*classes, "label") if name in schema.names), None)


def check_pyarrow(run: RunDir, report: Report) -> Expected:
    """Checks types, metadata, nulls and sums with pyarrow, and gives what the others are compared with."""
    name = "pyarrow"
    tables = [pq.read_table(file) for file in run.features_files]
    schema = tables[0].schema
    odd = [file.name for file, table in zip(run.features_files, tables, strict=True) if table.schema != schema]
    report.check(name, "types", not odd, f"the schema of {odd} is not that of the first file")
    table = pa.concat_tables(tables)
    check_types(report, name, schema)
    for file in run.features_files:
        check_metadata(report, name, pq.read_schema(file), file.name)
    nulls = table["features"].null_count + table["n_patches"].null_count
    nulls += table["features"].combine_chunks().flatten().null_count
    report.check(name, "no nulls", nulls == 0, f"{nulls} nulls")

    features = fixed_size_lists(table["features"])
    n_patches = table["n_patches"].to_numpy()
    report.check(name, "values", bool(np.isfinite(features).all()), "values that are not finite")
    if (run.setting("features", "encoding", "hard"), run.setting("features", "weighting", "count")) == (
        "hard",
        "count",
    ):
        wrong = np.flatnonzero(features.sum(1, dtype=np.float64) != n_patches * cells_over_patch(run))
        report.check(name, "sums", wrong.size == 0, f"{wrong.size} rows do not sum to n_patches, first {wrong[:3]}")

    label = label_column(run, schema)
    vocabulary = pq.read_table(run.vocabulary_file)
    check_vocabulary(run, report, name, vocabulary)
    return Expected(
        files=run.features_files,
        vocabulary_file=run.vocabulary_file,
        features=features,
        n_patches=n_patches,
        label=label,
        labels=table[label].to_numpy() if label else None,
        label_names=check_labels(run, report, name, table, label) if label else None,
        centroids=fixed_size_lists(vocabulary["centroid"]),
    )


def check_types(report: Report, name: str, schema: pa.Schema) -> None:
    """The types that the contract promises; a nullable vector would be one that some readers cannot take."""
    kind = schema.field("features").type
    if not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float32():
        report.check(name, "types", False, f"features is {kind}")
    else:
        nullable = schema.field("features").nullable or kind.value_field.nullable
        report.check(name, "types", not nullable, "features are declared nullable")
    report.check(name, "types", schema.field("n_patches").type == pa.int32(), "n_patches is not int32")


def check_labels(run: RunDir, report: Report, name: str, table: pa.Table, label: str) -> list[str] | None:
    """Compares labels with the input's where that is still there; gives the class names that must have survived."""
    try:
        sources = [pq.read_table(file, columns=[label]) for file in run.input_files()]
    except (OSError, KeyError):
        sources = []
    schema = sources[0].schema if sources else table.schema
    n_rows = sum(len(source) for source in sources)
    if n_rows == len(table):
        source = pa.concat_tables(sources)[label]
        report.check(name, "label", source.to_pylist() == table[label].to_pylist(), "not the input's labels")
    elif sources and run.setting("input", "on_bad_image") != "drop":
        report.check(name, "label", False, f"{len(table)} rows, the input has {n_rows}")
    return hf_features(schema).get(label, {}).get("names")


def cells_over_patch(run: RunDir) -> int:
    """How many cells each patch is counted in: one for each grid of a pyramid."""
    pooling = run.setting("features", "pooling", [1, 1])
    return len(pooling) if pooling and isinstance(pooling[0], list) else 1


def check_vocabulary(run: RunDir, report: Report, name: str, vocabulary: pa.Table) -> None:
    """Checks the vocabulary's columns, and that it is sound as a result of k-means."""
    missing = {"word", "count", "inertia", "centroid"} - set(vocabulary.schema.names)
    report.check(name, "vocabulary", not missing, f"no columns {sorted(missing)}")
    kind = vocabulary.schema.field("centroid").type
    is_expected_type = pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32()
    report.check(name, "vocabulary", is_expected_type, f"centroid is {kind}")
    report.check(name, "vocabulary", vocabulary.schema.field("inertia").type == pa.float64(), "inertia is not float64")
    report.check(name, "vocabulary", pa.types.is_integer(vocabulary.schema.field("count").type), "count is no integer")
    report.check(name, "vocabulary", sum(c.null_count for c in vocabulary.columns) == 0, "nulls")
    word = vocabulary["word"].to_numpy()
    report.check(name, "vocabulary", np.array_equal(word, np.arange(len(vocabulary))), "words are not numbered 0..k-1")
    report.check(name, "vocabulary", bool(np.isfinite(fixed_size_lists(vocabulary["centroid"])).all()), "not finite")
    report.check(name, "vocabulary", bool((vocabulary["inertia"].to_numpy() >= 0).all()), "negative inertia")
    centroids = fixed_size_lists(vocabulary["centroid"])
    report.check(name, "vocabulary", len(np.unique(centroids, axis=0)) == len(centroids), "words that are the same")
    report.check(name, "vocabulary", bool((vocabulary["count"].to_numpy() > 0).all()), "words without patches")
    k = run.setting("vocabulary", "k", len(vocabulary))
    report.check(name, "vocabulary", len(vocabulary) == k, f"{len(vocabulary)} words, the job says {k}")
    check_metadata(report, name, vocabulary.schema, "vocabulary")


def check_metadata(report: Report, name: str, schema: pa.Schema, what: str) -> None:
    """A file must say where it came from: a key of bovw's in its metadata."""
    keys = [key.decode() for key in schema.metadata or {}]
    report.check(name, "metadata", any(key.startswith("bovw") for key in keys), f"{what} has no bovw key, only {keys}")


def check_pandas(expected: Expected, report: Report) -> None:
    """pandas: vectors come as objects that hold arrays."""
    name = "pandas"
    frame = pd.concat([pd.read_parquet(file) for file in expected.files], ignore_index=True)
    report.check(name, "types", frame["features"].iloc[0].dtype == np.float32, "vectors are not float32")
    report.check(name, "no nulls", not frame[["features", "n_patches"]].isna().any(axis=None), "nulls")
    report.check(name, "values", same(np.stack(frame["features"]), expected.features))
    report.check(name, "values", same(frame["n_patches"], expected.n_patches), "n_patches")
    if expected.label:
        report.check(name, "label", same(frame[expected.label], expected.labels))
    words = pd.read_parquet(expected.vocabulary_file)
    report.check(name, "vocabulary", same(np.stack(words["centroid"]), expected.centroids))


def check_polars(expected: Expected, report: Report) -> None:
    """polars: vectors come as an Array column, hence as one matrix."""
    name = "polars"
    frame = pl.read_parquet(expected.files)
    wanted = pl.Array(pl.Float32, expected.k)
    report.check(name, "types", frame.schema["features"] == wanted, f"features is {frame.schema['features']}")
    report.check(name, "no nulls", frame["features"].null_count() + frame["n_patches"].null_count() == 0, "nulls")
    report.check(name, "values", same(frame["features"].to_numpy(), expected.features))
    report.check(name, "values", same(frame["n_patches"].to_numpy(), expected.n_patches), "n_patches")
    if expected.label:
        report.check(name, "label", same(frame[expected.label].to_numpy(), expected.labels))
    words = pl.read_parquet(expected.vocabulary_file)
    report.check(name, "vocabulary", same(words["centroid"].to_numpy(), expected.centroids))


def check_duckdb(expected: Expected, report: Report) -> None:
    """DuckDB: vectors are lists there, and a cast makes them arrays with a distance."""
    name = "DuckDB"
    files = [str(file) for file in expected.files]
    with duckdb.connect() as connection:
        rows = connection.read_parquet(files)
        report.check(name, "types", str(rows.select("features").types[0]).startswith("FLOAT["), str(rows.types))
        whole = rows.filter(f"n_patches IS NOT NULL AND list_count(features) = {expected.k}")
        report.check(name, "no nulls", len(whole) == len(expected.features), "nulls")
        read = rows.to_arrow_table()
        report.check(name, "values", same(fixed_size_lists(read["features"]), expected.features))
        report.check(name, "values", same(read["n_patches"].to_numpy(), expected.n_patches), "n_patches")
        sums = rows.select("list_sum(features)::DOUBLE AS total").fetchnumpy()["total"]
        report.check(name, "sums", np.allclose(sums, expected.features.sum(1, dtype=np.float64)), "list_sum")
        array = f"features::FLOAT[{expected.k}]"
        distances = rows.select(f"array_distance({array}, {array}) AS zero").fetchnumpy()["zero"]
        report.check(name, "values", not distances.any(), "array_distance of a vector to itself")
        if expected.label:
            report.check(name, "label", read[expected.label].to_pylist() == list(expected.labels))
        words = connection.read_parquet(str(expected.vocabulary_file)).to_arrow_table()
        report.check(name, "vocabulary", same(fixed_size_lists(words["centroid"]), expected.centroids))


def check_datasets(expected: Expected, report: Report) -> None:
    """Hugging Face datasets: class names and the length of the vectors must have survived."""
    name = "datasets"
    os.environ["HF_HUB_OFFLINE"] = "1"
    import datasets  # late: it reads its settings from the environment when it is loaded

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as cache:

        def load(files: list[Path]) -> datasets.Dataset:
            return datasets.load_dataset("parquet", data_files=[str(f) for f in files], split="train", cache_dir=cache)

        rows = load(expected.files)
        wanted = datasets.List(datasets.Value("float32"), length=expected.k)
        report.check(name, "types", rows.features["features"] == wanted, str(rows.features["features"]))
        rows = rows.with_format("numpy")
        report.check(name, "values", same(rows["features"][:], expected.features))
        report.check(name, "values", np.array_equal(rows["n_patches"][:], expected.n_patches), "n_patches")
        if expected.label:
            report.check(name, "label", np.array_equal(rows[expected.label][:], expected.labels))
        if expected.label_names:
            kind = rows.features[expected.label]
            report.check(name, "class names", getattr(kind, "names", None) == expected.label_names, str(kind))
        words = load([expected.vocabulary_file]).with_format("numpy")
        report.check(name, "vocabulary", same(words["centroid"][:], expected.centroids))


def check_sklearn(expected: Expected, report: Report) -> None:
    """scikit-learn: the matrix can be clustered and learned from."""
    name = "scikit-learn"
    matrix = np.stack(pd.concat([pd.read_parquet(f, columns=["features"]) for f in expected.files])["features"])
    chosen = np.linspace(0, len(matrix) - 1, min(len(matrix), SKLEARN_ROWS)).astype(int)
    some = StandardScaler().fit_transform(matrix[chosen])
    report.check(name, "types", some.dtype == np.float32, f"{some.dtype}")
    report.check(name, "values", same(matrix, expected.features))
    n_clusters = min(10, len(np.unique(some, axis=0)))
    clusters = KMeans(n_clusters, n_init=1, random_state=0).fit(some)
    report.check(name, "fits", bool(np.isfinite(clusters.inertia_)), "KMeans")
    if expected.labels is None or len(np.unique(expected.labels[chosen])) < 2:
        report.notes.append(f"scikit-learn: k-means of {len(some):,} vectors, no labels to learn")
        return
    labels = expected.labels[chosen]
    train = np.arange(len(some)) % 4 != 0
    model = LogisticRegression(max_iter=300).fit(some[train], labels[train])
    accuracy = model.score(some[~train], labels[~train])
    chance = np.unique(labels, return_counts=True)[1].max() / len(labels)
    report.check(name, "fits", accuracy > chance, f"accuracy {accuracy:.3f} is no better than chance")
    right = f"{accuracy:.1%} of {(~train).sum():,} others right"
    report.notes.append(f"scikit-learn: logistic regression on {train.sum():,} vectors, {right}")


def main() -> int:
    """Checks a run with all readers and prints the table."""
    parser = argparse.ArgumentParser(prog="scripts/check_readers", description="Opens a run's files with other tools.")
    parser.add_argument("run", type=Path, nargs="?", default=Path("out/digits"), help="output directory of a run")
    run = RunDir(parser.parse_args().run)
    if not run.features_files or not run.vocabulary_file.exists():
        print(f"{run.path} holds no features/*.parquet and vocabulary.parquet", file=sys.stderr)
        return 1

    report = Report()
    expected = None
    with report.guard("pyarrow"):
        expected = check_pyarrow(run, report)
    if expected:
        check_others(expected, report)
    print(f"\n{report.table()}\n")
    for note in report.notes:
        print(note)
    for failure in report.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if report.failures else 0


def check_others(expected: Expected, report: Report) -> None:
    """Compares every other reader with pyarrow."""
    shape = f"{len(expected.features):,} vectors of {expected.k}, {len(expected.centroids)} words of {expected.d}"
    print(f"{len(expected.files)} features files, {shape}")
    readers: dict[str, Callable[[Expected, Report], None]] = {
        "pandas": check_pandas,
        "polars": check_polars,
        "DuckDB": check_duckdb,
        "datasets": check_datasets,
        "scikit-learn": check_sklearn,
    }
    for name, check in readers.items():
        with report.guard(name):
            check(expected, report)


if __name__ == "__main__":
    sys.exit(main())
