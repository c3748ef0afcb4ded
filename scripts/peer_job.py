"""The main job in Python, tuned: what scripts/bench_peers holds `bovw run configs/mnist.toml` against.

    python peer_job.py OUT SHARD...

pyarrow reads, Pillow decodes, NumPy cuts, scikit-learn learns and predicts, pyarrow writes. float32 all through; shards
are shared out over two processes, each with one thread, but for learning, which has both cores.
"""

import io
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits

from peers import SIZE, THREADS, counted, patches

K = 50
EVERY = 10
SHARE = 0.75
CHUNK_IMAGES = 64
SEED = 0


def batches(shard: Path) -> Iterator[tuple[list[bytes], pa.Array]]:
    """Encoded images and labels of a shard."""
    for batch in pq.ParquetFile(shard).iter_batches(1024):
        yield batch["image"].field("bytes").to_pylist(), batch["label"]


def decoded(encoded: list[bytes]) -> NDArray[np.uint8]:
    """Grey pixels."""
    return np.stack([np.asarray(Image.open(io.BytesIO(data))) for data in encoded])


def sample(shard: Path, first_row: int) -> NDArray[np.float32]:
    """Three quarters of the patches of every tenth image."""
    rng = np.random.default_rng([SEED, first_row])
    parts = []
    for encoded, _ in batches(shard):
        wanted = encoded[-first_row % EVERY :: EVERY]
        first_row += len(encoded)
        if wanted:
            each = patches(decoded(wanted)).reshape(len(wanted), -1, SIZE * SIZE)
            n_taken = int(SHARE * each.shape[1])
            parts += [image[rng.permutation(len(image))[:n_taken]] for image in each]
    return np.concatenate(parts)


def featurize(shard: Path, words: NDArray[np.float32], out: Path) -> int:
    """Writes the features of a shard."""
    model = MiniBatchKMeans(K, init=words, n_init=1, max_iter=1, batch_size=K).fit(words)
    model.cluster_centers_ = words
    rows, labels = [], []
    for encoded, label in batches(shard):
        images = decoded(encoded)
        labels.append(label)
        for start in range(0, len(images), CHUNK_IMAGES):
            chunk = images[start : start + CHUNK_IMAGES]
            rows.append(counted(model.predict(patches(chunk)), len(chunk), K).astype(np.float32))
    features = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(rows).ravel()), K)
    table = pa.table({"label": pa.chunked_array(labels), "features": features})
    pq.write_table(table, out / shard.name, compression="zstd")
    return len(features)


def one_thread() -> None:
    """What each process starts with."""
    threadpool_limits(1)


def main() -> None:
    """Runs the job and prints what it took."""
    out, shards = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    out.mkdir(parents=True, exist_ok=True)
    times: dict[str, Any] = {}
    started = time.perf_counter()

    def lap(name: str) -> None:
        times[name] = time.perf_counter() - started - sum(times.values())

    # Started before scikit-learn has threads, which would not survive the fork.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(THREADS, context, initializer=one_thread) as pool:
        first_rows = np.cumsum([0] + [pq.read_metadata(shard).num_rows for shard in shards[:-1]])
        matrix = np.concatenate(list(pool.map(sample, shards, map(int, first_rows))))
        lap("sample")
        model = MiniBatchKMeans(K, n_init=3, max_iter=300, batch_size=4096, random_state=SEED).fit(matrix)
        lap("learn")
        words = model.cluster_centers_
        n_rows = sum(pool.map(featurize, shards, [words] * len(shards), [out] * len(shards)))
        lap("featurize")
    print(json.dumps(times | {"rows": n_rows, "inertia_per_patch": model.inertia_ / len(matrix)}))


if __name__ == "__main__":
    main()
