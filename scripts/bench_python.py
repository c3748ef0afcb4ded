"""How fast `bovw.Featurizer` is on NumPy images, beside the Rust kernel on the same images, words and threads.

    scripts/bench_python [--images N] [--k K] [--rounds N]

Images are MNIST's test images, again and again, or random ones where MNIST is not there. The rows of a round run one
after another, so a busy machine slows all of them; a row is the median of its rounds, and so is its ratio to the
kernel's row.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import bovw
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
MNIST = ROOT.parent / "shared" / "data" / "mnist" / "t10k-images-idx3-ubyte.gz"
KERNEL = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "examples" / "bench_featurize"
HEADER_BYTES = 16
LEAST = 0.95
"""Of the kernel's speed, what a featurizer must reach."""


def load(n: int) -> np.ndarray:
    """Images of 28x28 bytes."""
    if not MNIST.is_file():
        return np.random.default_rng(0).integers(0, 256, (n, 28, 28), dtype=np.uint8)
    with gzip.open(MNIST) as file:
        images = np.frombuffer(file.read()[HEADER_BYTES:], np.uint8).reshape(-1, 28, 28)
    return np.resize(images, (n, 28, 28))


def write_idx(images: np.ndarray, path: Path) -> None:
    """The images as an IDX file, which the kernel's program reads."""
    with path.open("wb") as file:
        file.write(np.array([0x803, *images.shape], ">u4").tobytes())
        file.write(images.tobytes())


def kernel_seconds(words: Path, idx: Path, threads: int) -> float:
    """Seconds of the Rust kernel, images and counts in memory."""
    command = [KERNEL, words, idx, "--threads", str(threads)]
    line = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return min(json.loads(line)["seconds"])


def python_seconds(featurizer: bovw.Featurizer, images: np.ndarray) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    featurizer(images)
    return time.perf_counter() - start


def shared_seconds(featurizer: bovw.Featurizer, images: np.ndarray, n_threads: int) -> float:
    """Seconds of threads of Python that share a featurizer, each with its part of the images."""
    parts = np.array_split(images, n_threads)
    threads = [threading.Thread(target=featurizer, args=(part,)) for part in parts]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    images = load(options.images)
    words = bovw.learn(images[:2000], k=options.k, patch=6, per_image=0.75)
    one, two = (bovw.Featurizer(words, threads=threads) for threads in (1, 2))
    with tempfile.TemporaryDirectory() as folder:
        idx, file = Path(folder) / "images.idx", Path(folder) / "words.parquet"
        write_idx(images, idx)
        words.save(file)
        rows = {
            "Rust kernel, 1 thread": lambda: kernel_seconds(file, idx, 1),
            "Featurizer, 1 thread": lambda: python_seconds(one, images),
            "Rust kernel, 2 threads": lambda: kernel_seconds(file, idx, 2),
            "Featurizer, 2 threads": lambda: python_seconds(two, images),
            "4 threads of Python, a featurizer of 1 thread": lambda: shared_seconds(one, images, 4),
        }
        for row in rows.values():
            row()
        rounds = [{name: row() for name, row in rows.items()} for _ in range(options.rounds)]
    print(f"{options.images} images of 28x28, 6x6 patches, k = {options.k}, median of {options.rounds} rounds\n")
    beside, ratios = "Rust kernel, 1 thread", {}
    for name in rows:
        beside = name if name.startswith("Rust") else beside
        seconds = statistics.median(one_round[name] for one_round in rounds)
        ratio = statistics.median(one_round[beside] / one_round[name] for one_round in rounds)
        ratios[name] = ratio
        print(f"{name:48} {seconds:7.3f} s {options.images / seconds:10,.0f} images/s   {ratio:5.2f} of the kernel")

    slow = [name for name in rows if name.startswith("Featurizer") and ratios[name] < LEAST]
    if slow:
        raise SystemExit(f"less than {LEAST} of the kernel: {', '.join(slow)}")


if __name__ == "__main__":
    main()
