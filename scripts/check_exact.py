"""Recomputes a run's word counts by brute force in float64 and says where they differ.

The law that it checks: given a vocabulary, every patch gets the word whose squared distance, summed in float64 over the
pixels in order, is smallest, the lowest index among equals.

A float64 matrix product shortlists the words first. What it cannot tell apart, given a bound on its rounding error, is
decided by that very sum; so the answer is the brute force's, at the speed of BLAS.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from patches import BadImageError, Cutter, Decoder, images_in
from run_dir import RunDir, fixed_size_lists

CHUNK_PATCHES = 8192
BATCH_IMAGES = 256
SHOWN = 20

Matrix = NDArray[np.float64]


def exact_distances(patches: Matrix, words: Matrix) -> Matrix:
    """Squared distances, each summed over the pixels in order: the definition."""
    total = np.zeros((len(patches), len(words)))
    for pixel in range(words.shape[1]):
        difference = patches[:, pixel, None] - words[None, :, pixel]
        total += difference * difference
    return total


def nearest_words(patches: Matrix, words: Matrix) -> tuple[NDArray[np.intp], int]:
    """The nearest word of each patch, and how many had to be decided by the definition."""
    half_squares = (words * words).sum(1) / 2
    scores = half_squares - patches @ words.T
    best = scores.argmin(1)
    # Twice the error of a score and of half a distance: gamma(d + 2) * (|x| + |c|)^2 bounds each, with room to spare.
    longest = np.sqrt((patches * patches).sum(1).max()) + np.sqrt(2 * half_squares.max())
    bound = 4 * (words.shape[1] + 4) * np.finfo(np.float64).eps * longest * longest
    close = np.flatnonzero((scores <= scores.min(1, keepdims=True) + bound).sum(1) > 1)
    if close.size:
        best[close] = exact_distances(patches[close], words).argmin(1)
    return best, close.size


@dataclass(frozen=True)
class Batch:
    """Some rows of one shard: what a worker needs, and no more than that travels to it."""

    shard: str
    rows: list[int]
    images: list[Any]
    features: NDArray[np.float32]
    n_patches: NDArray[np.int64]


@dataclass
class Outcome:
    """What checking some rows gave."""

    rows: int = 0
    patches: int = 0
    close: int = 0
    bad_images: int = 0
    blank_images: int = 0
    differing: list[str] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        """Adds the outcome of further rows."""
        self.rows += other.rows
        self.patches += other.patches
        self.close += other.close
        self.bad_images += other.bad_images
        self.blank_images += other.blank_images
        self.differing += other.differing


@dataclass(frozen=True)
class Checker:
    """Everything about the job that checking a row takes."""

    cutter: Cutter
    decoder: Decoder
    words: Matrix

    def check(self, batch: Batch) -> Outcome:
        """Compares the rows of a batch with brute force."""
        outcome = Outcome(rows=len(batch.rows))
        for row, image, found, n_patches in zip(batch.rows, batch.images, batch.features, batch.n_patches, strict=True):
            try:
                patches = self.cutter(self.decoder(image))
            except BadImageError:
                outcome.bad_images += 1
                patches = np.zeros((0, self.words.shape[1]))
            outcome.patches += len(patches)
            outcome.blank_images += int(len(patches) > 0 and not patches.any())
            expected = self.count(patches, outcome)
            if not np.array_equal(expected, found) or len(patches) != n_patches:
                outcome.differing.append(
                    f"{batch.shard} row {row}: {self.explain(patches, expected, found, n_patches)}"
                )
        return outcome

    def count(self, patches: Matrix, outcome: Outcome) -> NDArray[np.int64]:
        """How many patches each word gets."""
        counts = np.zeros(len(self.words), np.int64)
        for start in range(0, len(patches), CHUNK_PATCHES):
            best, close = nearest_words(patches[start : start + CHUNK_PATCHES], self.words)
            counts += np.bincount(best, minlength=len(counts))
            outcome.close += close
        return counts

    def explain(self, patches: Matrix, expected: NDArray[Any], found: NDArray[Any], n_patches: int) -> str:
        """Which words differ, and the patches that could have gone either way between them, closest first."""
        if len(patches) != n_patches:
            return f"n_patches is {n_patches}, should be {len(patches)}"
        words = np.flatnonzero(expected != found)
        text = ", ".join(f"word {w}: {found[w]:g} should be {expected[w]}" for w in words[:6])
        text += f" and {len(words) - 6} more words" if len(words) > 6 else ""
        if not len(patches) or len(self.words) < 2:
            return text
        gaps = []
        for start in range(0, len(patches), CHUNK_PATCHES):
            distances = exact_distances(patches[start : start + CHUNK_PATCHES], self.words)
            order = np.argsort(distances, axis=1, kind="stable")[:, :2]
            best, second = np.take_along_axis(distances, order, 1).T
            for index in np.flatnonzero(np.isin(order, words).all(1)):
                gap = (second[index] - best[index]) / max(best[index], np.finfo(np.float64).tiny)
                gaps.append((gap, start + index, *order[index]))
        for gap, index, best_word, second_word in sorted(gaps)[:3]:
            text += f"\n    patch {index}: word {best_word} before {second_word} by a relative gap of {gap:.3g}"
        return text if gaps else text + "\n    no patch has its two nearest words among these"


def usable(cutter: Cutter, decoder: Decoder, image: Any) -> bool:  # noqa: ANN401 - as the shard has it
    """Whether an image is a good one."""
    try:
        return cutter.positions(decoder(image)) > 0
    except BadImageError:
        return False


def batches(run: RunDir, shards: list[Path], checker: Checker, wanted: int | None) -> Iterator[Batch]:
    """Rows to check with what was found for them: all, or `wanted` of them spread evenly over all shards."""
    counts = [pq.read_metadata(shard).num_rows for shard in shards]
    total = sum(counts)
    wanted = min(wanted or total, total)
    first = 0
    for shard, n_rows in zip(shards, counts, strict=True):
        vectors = FeatureRows(run.features_of(shard))
        dropped = n_rows - vectors.n_rows
        if dropped and run.setting("input", "on_bad_image") != "drop":
            raise SystemExit(f"{shard.name} has {n_rows} rows, its features file {vectors.n_rows}")
        row = 0
        for images in images_in(shard, run.setting("input", "image"), BATCH_IMAGES):
            rows = list(range(row, row + len(images)))
            row += len(images)
            if dropped:
                kept = [usable(checker.cutter, checker.decoder, image) for image in images]
                rows = [r for r, keep in zip(rows, kept, strict=True) if keep]
                images = [image for image, keep in zip(images, kept, strict=True) if keep]
            features, n_patches = vectors.take(len(images))
            # Row i is taken where the count of taken rows, wanted * i / total, moves on.
            chosen = [i for i, r in enumerate(rows) if (first + r) * wanted % total < wanted]
            if chosen:
                yield Batch(
                    shard.name,
                    [rows[i] for i in chosen],
                    [images[i] for i in chosen],
                    features[chosen],
                    n_patches[chosen],
                )
        vectors.finish()
        first += n_rows


class FeatureRows:
    """Reads a features file from start to end, any number of rows at a time."""

    def __init__(self, path: Path) -> None:
        """Opens the file."""
        self.path = path
        self.file = pq.ParquetFile(path)
        self.n_rows = self.file.metadata.num_rows
        self.batches = self.file.iter_batches(1024, columns=["features", "n_patches"])
        self.features: NDArray[np.float32] | None = None
        self.n_patches = np.zeros(0, np.int64)

    def take(self, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The next `count` rows."""
        while len(self.n_patches) < count:
            batch = next(self.batches, None)
            if batch is None:
                raise SystemExit(f"{self.path.name} ends before its shard does")
            features = fixed_size_lists(batch["features"])
            self.features = features if self.features is None else np.concatenate([self.features, features])
            self.n_patches = np.concatenate([self.n_patches, batch["n_patches"].to_numpy(zero_copy_only=False)])
        if self.features is None:
            return np.zeros((0, 0), np.float32), self.n_patches[:0]
        taken = self.features[:count], self.n_patches[:count]
        self.features, self.n_patches = self.features[count:], self.n_patches[count:]
        return taken

    def finish(self) -> None:
        """Says if there are rows left that belong to no image."""
        if len(self.n_patches) or next(self.batches, None) is not None:
            raise SystemExit(f"{self.path.name} has more rows than good images")
        self.file.close()


_checker: Checker | None = None


def start_worker(checker: Checker) -> None:
    """Gives a process the checker once, rather than with every batch, and one BLAS thread: processes are enough."""
    global _checker
    _checker = checker
    threadpool_limits(1)


def check_batch(batch: Batch) -> Outcome:
    """Checks a batch in a worker process."""
    assert _checker is not None
    return _checker.check(batch)


def check_all(work: Iterator[Batch], checker: Checker, jobs: int) -> Outcome:
    """Checks batches in parallel; a fixed number are in flight, so memory does not grow with the data."""
    outcome = Outcome()
    pending: deque[Future[Outcome]] = deque()
    # Not forked: the threads that pyarrow has by now would not survive it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=start_worker, initargs=(checker,)) as pool:
        for batch in work:
            pending.append(pool.submit(check_batch, batch))
            if len(pending) > 2 * jobs:
                outcome.add(pending.popleft().result())
        while pending:
            outcome.add(pending.popleft().result())
    return outcome


def checker_for(run: RunDir) -> Checker:
    """The checker of a run; ends where the run's features are not plain counts, which is all that is checked here."""
    plain = {"encoding": ("hard", "hard"), "weighting": ("count", "count"), "pooling": ([1, 1], [[1, 1]])}
    for key, allowed in plain.items():
        if run.setting("features", key, allowed[0]) not in allowed:
            raise SystemExit(f"only hard counts over the whole image are checked, not features.{key} as in this run")
    if run.setting("patches", "whiten") not in (None, "none"):
        raise SystemExit("whitened patches are not checked")
    height, width = run.setting("patches", "size")
    shape = run.setting("input", "shape")
    if isinstance(shape, dict):
        shape = (shape["height"], shape["width"])
    return Checker(
        Cutter(height, width, run.setting("patches", "stride", 1), run.setting("patches", "normalize", "image")),
        Decoder(tuple(shape[:2]) if shape else None),
        run.words(),
    )


def main() -> int:
    """Checks a run and prints what came out."""
    parser = argparse.ArgumentParser(prog="scripts/check_exact", description="Recomputes a run's counts in float64.")
    parser.add_argument("run", type=Path, nargs="?", default=Path("out/digits"), help="output directory of a run")
    parser.add_argument("--images", type=int, metavar="N", help="check N images spread over all shards, not all")
    parser.add_argument(
        "--inputs", type=Path, nargs="+", metavar="SHARD", help="shards, if not where manifest.json says"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    options = parser.parse_args()

    started = time.perf_counter()
    run = RunDir(options.run)
    checker = checker_for(run)
    shards = options.inputs or run.input_files()
    outcome = check_all(batches(run, shards, checker, options.images), checker, options.jobs)
    seconds = time.perf_counter() - started

    for line in outcome.differing[:SHOWN]:
        print(line)
    if len(outcome.differing) > SHOWN:
        print(f"... and {len(outcome.differing) - SHOWN} more")
    cutter = checker.cutter
    print(f"run                     {options.run}")
    print(f"words                   {len(checker.words)} of {cutter.height}x{cutter.width}, {cutter.normalize}")
    print(f"images checked          {outcome.rows:,} in {len(shards)} shards")
    print(f"  bad / blank           {outcome.bad_images:,} / {outcome.blank_images:,}")
    print(f"patches checked         {outcome.patches:,}")
    print(f"  decided one by one    {outcome.close:,}")
    print(f"seconds                 {seconds:.1f} with {options.jobs} processes")
    print(f"images that differ      {len(outcome.differing):,}")
    if not outcome.rows:
        print("nothing was checked", file=sys.stderr)
    return 1 if outcome.differing or not outcome.rows else 0


if __name__ == "__main__":
    sys.exit(main())
