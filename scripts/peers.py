"""The rivals of scripts/bench_peers: decoded images to counts of words, each as its own users would tune it.

Run as a program it is one rival in a process of its own, since what decides about threads and BLAS is read when a
library is loaded. It takes commands as lines of JSON on stdin and answers in the same way.
"""

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE = 6
THREADS = 2
CHUNKS = (2, 8, 32, 128, 512)
"""Images at a time that are tried; the fastest is kept."""

Images = NDArray[np.uint8]
Words = NDArray[np.float32]
Counts = NDArray[np.int64]
Count = Callable[[Images], Counts]


def scaled(images: Images) -> NDArray[np.float32]:
    """`(x - mean) / std` of each image."""
    pixels = images.reshape(len(images), -1).astype(np.float32)
    pixels -= pixels.mean(1, keepdims=True)
    pixels /= pixels.std(1, keepdims=True)
    return pixels.reshape(images.shape)


def patches(images: Images) -> NDArray[np.float32]:
    """All patches of some images, a row each, as scikit-learn's users cut them."""
    windows = np.lib.stride_tricks.sliding_window_view(scaled(images), (SIZE, SIZE), axis=(1, 2))
    return np.ascontiguousarray(windows).reshape(-1, SIZE * SIZE)


def counted(labels: NDArray[Any], n_images: int, k: int) -> Counts:
    """Labels of the patches of some images to a row of counts each."""
    rows = labels.reshape(n_images, -1) + np.arange(n_images)[:, None] * k
    return np.bincount(rows.ravel(), minlength=n_images * k).reshape(n_images, k)


def by_patches(label: Callable[[NDArray[np.float32]], NDArray[Any]], k: int) -> Count:
    """Counts by a function that labels a matrix of patches."""
    return lambda images: counted(label(patches(images)), len(images), k)


def notebook(words: Words) -> Count:
    """The notebook's loop: distances to all words and a full sort, image by image, in float64."""
    from scipy.spatial.distance import cdist

    exact = words.astype(np.float64)

    def count(images: Images) -> Counts:
        rows = []
        for image in images:
            pixels = (image - image.mean()) / image.std()
            windows = np.lib.stride_tricks.sliding_window_view(pixels, (SIZE, SIZE)).reshape(-1, SIZE * SIZE)
            nearest = cdist(windows, exact).argsort(axis=1)[:, 0]
            rows.append(np.bincount(nearest, minlength=len(words)))
        return np.array(rows)

    return count


def sklearn(words: Words) -> Count:
    """`MiniBatchKMeans.predict` with these words for centres."""
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(len(words), init=words, n_init=1, max_iter=1, batch_size=len(words)).fit(words)
    model.cluster_centers_ = words
    return by_patches(model.predict, len(words))


def sklearnex(words: Words) -> Count:
    """`KMeans.predict` of Intel's extension."""
    from sklearnex.cluster import KMeans

    # oneDAL wants more points than centres; two of each word leave the words where they are.
    model = KMeans(len(words), init=words, n_init=1, max_iter=1).fit(np.concatenate([words, words]))
    if not np.allclose(model.cluster_centers_, words, atol=1e-6):
        raise RuntimeError("the centres are not the words that were given")
    if not hasattr(model, "_onedal_estimator"):
        raise RuntimeError("fell back to scikit-learn")
    if is_pooled():
        import daal4py

        daal4py.daalinit(1)
    return by_patches(model.predict, len(words))


def faiss(words: Words) -> Count:
    """`IndexFlatL2.search` for the one nearest."""
    import faiss

    index = faiss.IndexFlatL2(words.shape[1])
    index.add(words)
    return by_patches(lambda rows: index.search(rows, 1)[1], len(words))


def torch_matmul(words: Words) -> Count:
    """A matrix product and an argmax."""
    import torch

    weights = torch.from_numpy(words)
    bias = -(weights * weights).sum(1) / 2

    def label(rows: NDArray[np.float32]) -> NDArray[np.int64]:
        with torch.inference_mode():
            return torch.addmm(bias, torch.from_numpy(rows), weights.T).argmax(1).numpy()

    return by_patches(label, len(words))


def torch_conv(words: Words) -> Count:
    """A convolution with the words as filters, channels last, and an argmax: no patches are cut at all."""
    import torch

    weights = torch.from_numpy(words)
    bias = -(weights * weights).sum(1) / 2
    k = len(words)
    filters = weights.reshape(k, 1, SIZE, SIZE).to(memory_format=torch.channels_last)

    def count(images: Images) -> Counts:
        with torch.inference_mode():
            pixels = torch.from_numpy(scaled(images)).unsqueeze(1).to(memory_format=torch.channels_last)
            labels = torch.nn.functional.conv2d(pixels, filters, bias).argmax(1)
            return counted(labels.numpy(), len(images), k)

    return count


RIVALS: dict[str, Callable[[Words], Count]] = {
    rival.__name__: rival for rival in (notebook, sklearn, sklearnex, faiss, torch_matmul, torch_conv)
}


def is_pooled() -> bool:
    """Whether chunks are shared out over Python's threads, a core each, rather than by the library inside a chunk."""
    return os.environ.get("OMP_NUM_THREADS") == "1"


def count_all(count: Count, images: Images, chunk: int) -> Counts:
    """Counts of all images, `chunk` at a time."""
    starts = range(0, len(images), chunk)

    def part(start: int) -> Counts:
        return count(images[start : start + chunk])

    if not is_pooled():
        return np.concatenate([part(start) for start in starts])
    with ThreadPoolExecutor(THREADS) as pool:
        return np.concatenate(list(pool.map(part, starts)))


@dataclass
class Worker:
    """A rival and what it has been told so far."""

    rival: str
    images: Images
    count: Count | None = None
    chunk: int = 1

    def tune(self, words: str, first: int, chunks: list[int]) -> dict[str, Any]:
        """Takes new words and finds the best chunk on the first images."""
        self.count = RIVALS[self.rival](np.load(words))
        speeds = {}
        for chunk in chunks:
            self.chunk = chunk
            speeds[chunk] = max(first / self.run(first)["seconds"] for _ in range(2))
        self.chunk = max(speeds, key=lambda chunk: speeds[chunk])
        return {"chunk": self.chunk, "images_a_second": speeds[self.chunk]}

    def train(self, k: int, seed: int, save: str) -> dict[str, Any]:
        """faiss's k-means of the rows it was given for images, all of them and not the few that it takes by itself."""
        import faiss

        rows = self.images
        started = time.perf_counter()
        trained = faiss.Kmeans(rows.shape[1], k, niter=25, nredo=3, seed=seed, max_points_per_centroid=len(rows))
        trained.train(rows)
        seconds = time.perf_counter() - started
        np.save(save, trained.centroids)
        return {"seconds": seconds}

    def run(self, first: int, save: str | None = None) -> dict[str, Any]:
        """Counts the first images, from pixels in memory to counts in memory."""
        assert self.count is not None
        started = time.perf_counter()
        counts = count_all(self.count, self.images[:first], self.chunk)
        seconds = time.perf_counter() - started
        if save:
            np.save(save, counts)
        return {"seconds": seconds}


def main() -> None:
    """Serves one rival: `peers.py RIVAL IMAGES.npy`."""
    answers = os.fdopen(os.dup(1), "w")
    # Libraries that print would end up between the answers.
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    worker = Worker(sys.argv[1], np.load(sys.argv[2]))
    for line in sys.stdin:
        command = json.loads(line)
        action = getattr(worker, command.pop("do"))
        try:
            answer = action(**command)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
