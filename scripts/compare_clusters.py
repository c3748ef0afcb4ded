"""Compares `bovw`'s clusters of whole MNIST images with scikit-learn's KMeans, both with n_init 10, in one sitting.

Both cluster the same 10 000 test images. Inertia is measured by one float64 sum for both, purity against the same
labels. bovw's time is that of the whole clustering part of a run, decoding the images and writing the files included;
scikit-learn's is that of `fit` alone. With the training images, bovw's memory is shown for six times the rows.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from patches import Decoder, images_in
from run_dir import REPOSITORY, RunDir, fixed_size_lists

JOB_FILE = REPOSITORY / "configs" / "notebook.toml"
OUT = REPOSITORY / "out" / "compare_clusters"
MNIST_FOLDERS = (REPOSITORY / "data" / "mnist", REPOSITORY.parent / "shared" / "data" / "mnist")
N_INIT = 10
SEED = 0
INERTIA_SLACK = 1.001
SPEED_UP = 10


@dataclass(frozen=True)
class Clustered:
    """Centroids, the cluster of each row, and what it took."""

    centroids: NDArray[np.float64]
    clusters: NDArray[np.int64]
    seconds: float
    peak_mib: float | None = None


def bovw(binary: Path, shards: list[Path], k: int, algorithm: str, out: Path) -> Clustered:
    """Clusters with the release binary. Vocabulary and features are no part of the time."""
    files = ", ".join(f'"{shard.resolve()}"' for shard in shards)
    cluster = f'[{{of = "pixels", k = {k}, algorithm = "{algorithm}", n_init = {N_INIT}}}]'
    keys = {
        "input.files": f"[{files}]",
        "output.dir": f'"{out}"',
        "run.seed": str(SEED),
        "vocabulary.n_init": "1",
        "vocabulary.max_iter": "3",
    }

    def run(cluster: str, *flags: str) -> dict[str, Any]:
        command = [str(binary), "run", str(JOB_FILE), "--json", "--quiet", *flags]
        command += [part for key, value in keys.items() for part in ("--set", f"{key}={value}")]
        lines = subprocess.run([*command, "--set", f"cluster={cluster}"], check=True, capture_output=True).stdout
        return json.loads(lines.splitlines()[-1])

    run("[]", "--fresh")
    done = run(cluster)
    run_dir = RunDir(out)
    entry = run_dir.manifest["clusters"][0]
    centroids = fixed_size_lists(pq.read_table(out / entry["centroids"])["centroid"]).astype(np.float64)
    clusters = pq.read_table(out / entry["file"])["cluster"].to_numpy()
    peak_mib = done["memory"]["peak_anonymous_bytes"] / 2**20
    return Clustered(centroids, clusters, done["run"]["cluster_seconds"], peak_mib)


def sklearn(pixels: NDArray[Any], k: int) -> Clustered:
    """Clusters with scikit-learn."""
    started = time.perf_counter()
    model = KMeans(k, n_init=N_INIT, max_iter=300, random_state=SEED).fit(pixels)
    seconds = time.perf_counter() - started
    return Clustered(model.cluster_centers_.astype(np.float64), model.labels_, seconds)


def inertia(pixels: NDArray[np.float64], clustered: Clustered) -> float:
    """Mean squared distance of an image to its centroid."""
    difference = pixels - clustered.centroids[clustered.clusters]
    return float(np.einsum("ij,ij->", difference, difference)) / len(pixels)


def purity(labels: NDArray[Any], clusters: NDArray[Any]) -> float:
    """Share of the images whose label is their cluster's most frequent one."""
    return sum(np.bincount(labels[clusters == j]).max() for j in np.unique(clusters)) / len(labels)


def images_and_labels(shards: list[Path]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """All pixels, a row an image, and all labels."""
    decode = Decoder()
    rows = [decode(value).reshape(-1) for shard in shards for values in images_in(shard) for value in values]
    labels = [pq.read_table(shard, columns=["label"])["label"].to_numpy() for shard in shards]
    return np.stack(rows), np.concatenate(labels)


def compare(binary: Path, shards: list[Path], algorithms: list[str]) -> bool:
    """Prints the table of the test images; whether bovw's Lloyd reaches its goals."""
    images, labels = images_and_labels(shards)
    pixels = images.astype(np.float64)
    learners: dict[str, Callable[[int], Clustered]] = {
        "scikit-learn KMeans, float64": lambda k: sklearn(pixels, k),
        "scikit-learn KMeans, float32": lambda k: sklearn(images.astype(np.float32), k),
    }
    for algorithm in algorithms:
        learners[f"bovw {algorithm}"] = lambda k, algorithm=algorithm: bovw(binary, shards, k, algorithm, OUT / "test")
    good = True
    print(f"{len(pixels):,} images, n_init {N_INIT}, {os.cpu_count()} cores")
    print(
        f"{'k':>3}  {'learner':30}  {'purity':>7}  {'inertia/image':>14}  {'ratio':>8}  {'seconds':>8}  {'faster':>7}"
    )
    for k in (10, 20):
        reference, fastest = 0.0, float("inf")
        for name, learn in learners.items():
            clustered = learn(k)
            value = inertia(pixels, clustered)
            is_ours = name.startswith("bovw")
            reference = reference or value
            if not is_ours:
                fastest = min(fastest, clustered.seconds)
            faster = f"{fastest / clustered.seconds:6.1f}x" if is_ours else ""
            print(
                f"{k:3}  {name:30}  {purity(labels, clustered.clusters):7.4f}  {value:14.2f}  "
                f"{value / reference:8.5f}  {clustered.seconds:8.2f}  {faster}"
            )
            if name == "bovw lloyd":
                good &= value <= INERTIA_SLACK * reference and SPEED_UP * clustered.seconds <= fastest
    return good


def compare_memory(binary: Path, test: list[Path], train: list[Path]) -> None:
    """Prints bovw's peak for both sets, and the purity of the larger."""
    labels = np.concatenate([pq.read_table(shard, columns=["label"])["label"].to_numpy() for shard in train])
    print(f"\n{'images':>7}  {'k':>3}  {'purity':>7}  {'seconds':>8}  {'peak MiB':>9}  (heap, mini-batch)")
    for shards in (test, train):
        for k in (10, 20):
            clustered = bovw(binary, shards, k, "mini-batch", OUT / ("test" if shards is test else "train"))
            n = len(clustered.clusters)
            shown = f"{purity(labels, clustered.clusters):7.4f}" if shards is train else "      -"
            print(f"{n:7,}  {k:3}  {shown}  {clustered.seconds:8.2f}  {clustered.peak_mib:9.1f}")


def main() -> int:
    """Runs the comparisons."""
    parser = argparse.ArgumentParser(prog="scripts/compare_clusters", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bovw", type=Path, default=REPOSITORY / "target" / "release" / "bovw", help="the binary")
    parser.add_argument("--mnist", type=Path, metavar="DIR", help="folder of the shards (default: found)")
    parser.add_argument("--strict", action="store_true", help="fail where a goal is missed")
    parser.add_argument("--memory", action="store_true", help="also the 60 000 training images")
    options = parser.parse_args()

    folders = [options.mnist] if options.mnist else MNIST_FOLDERS
    folder = next((folder for folder in folders if list(folder.glob("test-*.parquet"))), None)
    if folder is None:
        print("skipped: no MNIST; scripts/fetch_mnist gets it")
        return 0
    if not options.bovw.exists():
        print(f"{options.bovw} is not there; cargo build --release makes it", file=sys.stderr)
        return 1
    test, train = (sorted(folder.glob(f"{part}-*.parquet")) for part in ("test", "train"))
    good = compare(options.bovw, test, ["lloyd", "mini-batch"])
    if options.memory and train:
        compare_memory(options.bovw, test, train)
    return 1 if options.strict and not good else 0


if __name__ == "__main__":
    sys.exit(main())
