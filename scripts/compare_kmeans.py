"""Compares the words that `bovw` learns on MNIST with scikit-learn's, on the very same patches.

Two learners can only be compared on one sample. So this draws bovw's sample a second time (the draw depends on the
seed and the image's number alone), trains scikit-learn on it, and measures all vocabularies with one float64 sum: the
mean squared distance of a patch to its word. As a check of the sample itself, the patches nearest to each of bovw's
words are counted and compared with the counts in its vocabulary file.
"""

import argparse
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans

from patches import Cutter, Decoder, images_in, sampled
from run_dir import REPOSITORY, RunDir

JOB_FILE = REPOSITORY / "configs" / "mnist.toml"
OUT = REPOSITORY / "out" / "compare_kmeans"
MNIST_FOLDERS = (REPOSITORY / "data" / "mnist", REPOSITORY.parent / "shared" / "data" / "mnist")
K = 50
SEED = 0
SHARE = 0.75
CUTTER = Cutter(6, 6, 1, "image")

Learner = Callable[["Sample"], "Learned"]


@dataclass(frozen=True)
class Sample:
    """The patches of every `every`-th image, as bovw draws them."""

    shards: list[Path]
    every: int

    @cached_property
    def images(self) -> list[tuple[int, NDArray[Any]]]:
        """Number over all shards and pixels of each image that is sampled; pixels are far smaller than patches."""
        values = itertools.chain.from_iterable(itertools.chain.from_iterable(map(images_in, self.shards)))
        return [(i, Decoder()(value)) for i, value in enumerate(values) if i % self.every == 0]

    def patches_by_image(self) -> Iterator[NDArray[np.float64]]:
        """The sampled patches, image by image."""
        for number, pixels in self.images:
            patches = CUTTER(pixels)
            yield patches[sampled(SEED, number, len(patches), SHARE)]

    @cached_property
    def matrix(self) -> NDArray[np.float32]:
        """All of them, as scikit-learn wants them."""
        return np.concatenate([patches.astype(np.float32) for patches in self.patches_by_image()])

    def measure(self, words: NDArray[np.float64]) -> tuple[float, NDArray[np.int64]]:
        """Mean squared distance to the nearest word, in float64, and how many patches each word has."""
        total, counts = 0.0, np.zeros(len(words), np.int64)
        squares = (words * words).sum(1)
        for patches in self.patches_by_image():
            scores = squares - 2 * (patches @ words.T)
            total += scores.min(1).sum() + (patches * patches).sum()
            counts += np.bincount(scores.argmin(1), minlength=len(words))
        return total / counts.sum(), counts


@dataclass(frozen=True)
class Learned:
    """A vocabulary and what it took."""

    words: NDArray[np.float64]
    seconds: float
    counts: NDArray[np.int64] | None = None
    """Patches of each word as the learner itself reports them."""
    whole_run: bool = False
    """The time is that of a whole run, since the run did not say how long learning took."""


def bovw(binary: Path, algorithm: str, **sets: str) -> Learner:
    """Learns with the release binary: the MNIST job with some keys overridden."""

    def learn(sample: Sample) -> Learned:
        run = RunDir(OUT / f"{algorithm}-every-{sample.every}")
        files = ", ".join(f'"{shard.resolve()}"' for shard in sample.shards)
        keys = {
            "input.files": f"[{files}]",
            "output.dir": f'"{run.path}"',
            "sample.every": str(sample.every),
            "sample.per_image": str(SHARE),
            "vocabulary.k": str(K),
            "vocabulary.algorithm": f'"{algorithm}"',
            "run.seed": str(SEED),
            "cluster": "[]",
            **{f"vocabulary.{key}": value for key, value in sets.items()},
        }
        command = [str(binary), "run", str(JOB_FILE), "--fresh"]
        command += [argument for key, value in keys.items() for argument in ("--set", f"{key}={value}")]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        whole = time.perf_counter() - started
        seconds = learning_seconds(run.manifest)
        counts = pq.read_table(run.vocabulary_file, columns=["count"])["count"].to_numpy()
        return Learned(run.words(), seconds or whole, counts, whole_run=seconds is None)

    return learn


def learning_seconds(manifest: dict[str, Any]) -> float | None:
    """Seconds of the k-means stage by the manifest's timings; None where they do not tell."""
    timings = manifest.get("timings") or manifest.get("stages") or {}
    entries = timings.items() if isinstance(timings, dict) else [(str(entry.get("stage")), entry) for entry in timings]
    for name, value in entries:
        if name.replace("-", "").replace("_", "").removesuffix("s") in ("kmean", "kmeansecond", "train"):
            return value.get("seconds") if isinstance(value, dict) else float(value)
    return None


def sklearn(estimator: KMeans | MiniBatchKMeans) -> Learner:
    """Learns with scikit-learn."""

    def learn(sample: Sample) -> Learned:
        matrix = sample.matrix
        started = time.perf_counter()
        estimator.fit(matrix)
        return Learned(estimator.cluster_centers_.astype(np.float64), time.perf_counter() - started)

    return learn


def mini_batch(batch_size: int) -> MiniBatchKMeans:
    """scikit-learn's mini-batch k-means with the job's settings."""
    return MiniBatchKMeans(K, n_init=3, max_iter=300, batch_size=batch_size, random_state=SEED)


def compare(sample: Sample, learners: dict[str, Learner]) -> bool:
    """Prints a table for one sample; false if bovw's own counts are not those of this sample."""
    rows = []
    agree = True
    for name, learn in learners.items():
        learned = learn(sample)
        inertia, counts = sample.measure(learned.words)
        rows.append((name, inertia, learned))
        if learned.counts is not None and not np.array_equal(counts, learned.counts):
            agree = False
            moved = np.abs(counts - learned.counts).sum() // 2
            text = f"{learned.counts.sum():,} patches in the file, {counts.sum():,} here, {moved:,} in other words"
            print(f"{name}: counts differ: {text}", file=sys.stderr)
    best = min(inertia for _, inertia, _ in rows)
    print(f"\n{len(sample.matrix):,} patches: {int(SHARE * 529)} of every {sample.every}th image")
    print(f"{'learner':44}  {'inertia/patch':>13}  {'ratio':>7}  {'seconds':>8}")
    for name, inertia, learned in rows:
        note = " (whole run)" if learned.whole_run else ""
        print(f"{name:44}  {inertia:13.5f}  {inertia / best:7.4f}  {learned.seconds:8.2f}{note}")
    return agree


def main() -> int:
    """Runs the comparisons."""
    parser = argparse.ArgumentParser(prog="scripts/compare_kmeans", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the patches: seconds, not minutes")
    parser.add_argument("--bovw", type=Path, default=REPOSITORY / "target" / "release" / "bovw", help="the binary")
    parser.add_argument("--sklearn-only", action="store_true", help="leave bovw out")
    parser.add_argument("--mnist", type=Path, metavar="DIR", help="folder of train-*.parquet (default: found)")
    options = parser.parse_args()

    folders = [options.mnist] if options.mnist else MNIST_FOLDERS
    shards = next((found for folder in folders if (found := sorted(folder.glob("train-*.parquet")))), None)
    if not shards:
        print("skipped: no MNIST; scripts/fetch_mnist gets it")
        return 0
    if not options.sklearn_only and not options.bovw.exists():
        print(f"{options.bovw} is not there; cargo build --release makes it", file=sys.stderr)
        return 1

    scale = 10 if options.quick else 1
    ours = {
        "bovw mini-batch, n_init 3": bovw(options.bovw, "mini-batch", n_init="3"),
        "bovw lloyd, n_init 3": bovw(options.bovw, "lloyd", n_init="3", max_iter="300"),
    }
    large = ours | {
        "scikit-learn MiniBatchKMeans 4096, n_init 3": sklearn(mini_batch(4096)),
        "scikit-learn MiniBatchKMeans 1024, n_init 3": sklearn(mini_batch(1024)),
    }
    small = ours | {
        "scikit-learn KMeans, n_init 3, max_iter 300": sklearn(KMeans(K, n_init=3, max_iter=300, random_state=SEED)),
    }
    print(f"k = {K}, {os.cpu_count()} cores")
    agree = True
    for every, learners in ((10 * scale, large), (60 * scale, small)):
        chosen = {
            name: learn for name, learn in learners.items() if not (options.sklearn_only and name.startswith("bovw"))
        }
        agree &= compare(Sample(shards, every), chosen)
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
