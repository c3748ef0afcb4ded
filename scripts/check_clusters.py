"""Recomputes a run's clusters and their scores without `bovw`, and says where they differ.

From the centroids files and the input: the cluster of every row by brute force in float64, its distance, the counts
and the inertia. From the clusters files: confusion matrix and scores by scikit-learn, to 1e-9; and, where the release
binary is there, what `bovw evaluate` says of the same file.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn import metrics

from check_exact import nearest_words
from patches import BadImageError, Decoder, images_in
from run_dir import REPOSITORY, RunDir, fixed_size_lists

TOLERANCE = 1e-9
CHUNK_ROWS = 4096
SCORES = ("purity", "nmi", "ari", "homogeneity", "completeness", "v_measure")

Matrix = NDArray[np.float64]


@dataclass
class Findings:
    """What was compared, and what differs."""

    failures: list[str] = field(default_factory=list)

    def check(self, name: str, passed: bool, detail: Any = "") -> None:  # noqa: ANN401 - shown as it is
        """Notes one comparison."""
        if not passed:
            self.failures.append(f"{name}: {detail}")

    def close(self, name: str, found: float, expected: float) -> None:
        """Notes a number that must be another's to the tolerance."""
        scale = max(1.0, abs(expected))
        self.check(name, abs(found - expected) <= TOLERANCE * scale, f"{found} in the file, {expected} here")


def pixel_rows(run: RunDir) -> Iterator[Matrix]:
    """The pixels of every good image, in chunks, in input order."""
    chunk: list[Matrix] = []
    for shard in run.input_files():
        for values in images_in(shard):
            for value in values:
                try:
                    chunk.append(Decoder()(value).astype(np.float64).reshape(-1))
                except BadImageError:
                    continue
                if len(chunk) == CHUNK_ROWS:
                    yield np.stack(chunk)
                    chunk = []
    if chunk:
        yield np.stack(chunk)


def feature_rows(run: RunDir) -> Iterator[Matrix]:
    """The vector of every good image, in chunks, in input order."""
    for path in run.features_files:
        table = pq.read_table(path, columns=["features", "n_patches"])
        good = table["n_patches"].to_numpy() > 0
        vectors = fixed_size_lists(table["features"]).astype(np.float64)[good]
        for start in range(0, len(vectors), CHUNK_ROWS):
            yield vectors[start : start + CHUNK_ROWS]


def distances2(rows: Matrix, words: Matrix) -> Matrix:
    """Squared distance of each row to its own word, summed over the values in order."""
    total = np.zeros(len(rows))
    for column in range(rows.shape[1]):
        difference = rows[:, column] - words[:, column]
        total += difference * difference
    return total


def check_rows(run: RunDir, entry: dict[str, Any], table: pa.Table, findings: Findings) -> None:
    """Clusters, distances, counts and inertia against brute force."""
    centroids = pq.read_table(run.path / entry["centroids"])
    words = fixed_size_lists(centroids["centroid"]).astype(np.float64)
    found = table["cluster"].drop_null().to_numpy()
    distance = table["distance"].drop_null().to_numpy()
    inertia = np.zeros(len(words))
    counts = np.zeros(len(words), np.int64)
    start = differing = other_distance = 0
    for rows in pixel_rows(run) if entry["of"] == "pixels" else feature_rows(run):
        nearest, _ = nearest_words(rows, words)
        squares = distances2(rows, words[nearest])
        end = start + len(rows)
        differing += int((nearest != found[start:end]).sum())
        other_distance += int((np.sqrt(squares).astype(np.float32) != distance[start:end]).sum())
        np.add.at(inertia, nearest, squares)
        counts += np.bincount(nearest, minlength=len(words))
        start = end
    findings.check("rows", start == len(found) == entry["rows"], f"{len(found)} with a cluster, {start} here")
    findings.check("clusters", differing == 0, f"{differing} of {start} differ")
    findings.check("distances", other_distance == 0, f"{other_distance} of {start} differ")
    findings.check("counts", counts.tolist() == entry["counts"] == centroids["count"].to_pylist(), counts)
    findings.close("inertia", entry["inertia"], float(inertia.sum()))
    for j, value in enumerate(centroids["inertia"].to_pylist()):
        findings.close(f"inertia of cluster {j}", value, float(inertia[j]))


def check_side(run: RunDir, table: pa.Table, findings: Findings) -> None:
    """Label and kept columns are those of the features files, row for row."""
    side = [name for name in table.column_names if name not in ("cluster", "distance")]
    features = pa.concat_tables([pq.read_table(path, columns=side) for path in run.features_files])
    findings.check("kept columns", table.select(side).equals(features.select(side)), side)


def scores_of(labels: NDArray[Any], clusters: NDArray[Any]) -> dict[str, float]:
    """The scores as scikit-learn has them; purity from its contingency matrix."""
    contingency = metrics.cluster.contingency_matrix(labels, clusters)
    homogeneity, completeness, v_measure = metrics.homogeneity_completeness_v_measure(labels, clusters)
    values = (
        contingency.max(0).sum() / contingency.sum(),
        metrics.normalized_mutual_info_score(labels, clusters),
        metrics.adjusted_rand_score(labels, clusters),
        homogeneity,
        completeness,
        v_measure,
    )
    return dict(zip(SCORES, map(float, values), strict=True))


def check_scores(entry: dict[str, Any], table: pa.Table, findings: Findings) -> None:
    """Confusion matrix and scores against scikit-learn's."""
    evaluation = entry["evaluation"]
    if evaluation is None:
        findings.check("note", bool(entry["evaluation_note"]), "there is neither an evaluation nor a note")
        return
    column = table[evaluation["label"]]
    names = class_names(table, evaluation["label"])
    rows = [
        (label, cluster)
        for label, cluster in zip(column.to_pylist(), table["cluster"].to_pylist(), strict=True)
        if cluster is not None
    ]
    labelled = [(label, cluster) for label, cluster in rows if label is not None and (names is None or label >= 0)]
    findings.check("n_labelled", evaluation["n_labelled"] == len(labelled), len(labelled))
    findings.check("n_unlabelled", evaluation["n_unlabelled"] == len(rows) - len(labelled), len(rows))
    values, labels = np.unique([label for label, _ in labelled], return_inverse=True)
    clusters = np.array([cluster for _, cluster in labelled])
    shown = [names[value] if names else str(value) for value in values.tolist()]
    findings.check("labels", evaluation["labels"] == shown, shown)
    confusion = np.zeros((len(values), entry["k"]), np.int64)
    np.add.at(confusion, (labels, clusters), 1)
    findings.check("confusion", evaluation["confusion"] == confusion.tolist(), confusion)
    for name, expected in scores_of(labels, clusters).items():
        findings.close(name, evaluation[name], expected)


def class_names(table: pa.Table, column: str) -> list[str] | None:
    """Names of a class label column, from the file's own metadata."""
    described = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return described.get(column, {}).get("names")


def check_command(binary: Path, path: Path, entry: dict[str, Any], findings: Findings) -> None:
    """`bovw evaluate` says of the file what the run said."""
    evaluation = entry["evaluation"]
    if evaluation is None or not binary.exists():
        return
    command = [binary, "evaluate", path, "--labels", evaluation["label"], "--clusters", "cluster", "--json"]
    said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    for name in ("n_labelled", "n_unlabelled", "labels", "confusion", *SCORES):
        findings.check(f"bovw evaluate: {name}", said[name] == evaluation[name], said[name])


def main() -> int:
    """Checks every clustering of a run."""
    parser = argparse.ArgumentParser(prog="scripts/check_clusters", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, metavar="DIR", help="output directory of a run")
    parser.add_argument("--bovw", type=Path, default=REPOSITORY / "target" / "release" / "bovw", help="the binary")
    options = parser.parse_args()

    run = RunDir(options.run)
    entries = run.manifest["clusters"]
    if not entries:
        print(f"{options.run} has no clusters")
        return 1
    failed = False
    for entry in entries:
        findings = Findings()
        table = pq.read_table(run.path / entry["file"])
        check_side(run, table, findings)
        check_rows(run, entry, table, findings)
        check_scores(entry, table, findings)
        check_command(options.bovw, run.path / entry["file"], entry, findings)
        evaluation = entry["evaluation"]
        scores = f"purity {evaluation['purity']:.4f}" if evaluation else entry["evaluation_note"]
        state = "differs" if findings.failures else "as here"
        print(f"{entry['file']}: {entry['rows']:,} rows, {entry['k']} clusters, {scores}: {state}")
        for failure in findings.failures:
            print(f"  {failure}", file=sys.stderr)
        failed |= bool(findings.failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
