"""Images to vectors as the contract says it, in float64 and plainly; and in float32, as fast as NumPy goes.

What scripts/quality compares `bovw` with: encodings, pooling and weighting (`encode`, `encode_fast`) given the words
and the whitening of a vocabulary.parquet, and a pipeline of its own that learns words with scikit-learn (`learn`).
"""

import base64
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_limits

from check_exact import nearest_words
from patches import scaled
from run_dir import fixed_size_lists

Images = NDArray[np.uint8]
"""Images of one size: count x height x width x channels."""
Matrix = NDArray[np.float64]
Fast = NDArray[np.float32]
Grid = tuple[int, int]

THREADS = 2
CHUNK_VALUES = 1 << 19
"""Values of float32 between patches and words that a thread holds at once: what fits its cache."""


@dataclass(frozen=True)
class Preparation:
    """How a patch is prepared: `patches` of the job file."""

    size: tuple[int, int]
    normalize: str
    epsilon: float = 10.0
    whiten_epsilon: float | None = None
    stride: int = 1


@dataclass(frozen=True)
class Whitening:
    """`matrix @ (patch - mean)`, with the float32 values that the vocabulary has, in float64."""

    mean: Matrix
    matrix: Matrix


@dataclass(frozen=True)
class Vocabulary:
    """Words and all that it takes to prepare patches for them."""

    words: Matrix
    preparation: Preparation
    whitening: Whitening | None
    inertia_per_patch: float
    documents: NDArray[np.int64] | None = None
    n_documents: int = 0

    @property
    def idf(self) -> Matrix:
        """`ln((1 + N) / (1 + df)) + 1` of each word."""
        if self.documents is None:
            raise ValueError("the vocabulary does not count documents")
        return np.log((1 + self.n_documents) / (1 + self.documents)) + 1


def load(path: Path, stride: int = 1) -> Vocabulary:
    """Reads a vocabulary.parquet; the stride is the job's and is not in it."""
    table = pq.read_table(path)
    meta = json.loads(table.schema.metadata[b"bovw.vocabulary"])
    whitening = meta.get("whitening")
    prepared = Preparation(
        tuple(meta["patch"]),
        meta["normalize"],
        10.0 if meta.get("epsilon") is None else meta["epsilon"],
        whitening and whitening["epsilon"],
        stride,
    )
    words = fixed_size_lists(table["centroid"]).astype(np.float64)
    if whitening:
        d = words.shape[1]
        mean, matrix = (_decoded(whitening[key]) for key in ("mean", "matrix"))
        whitening = Whitening(mean, matrix.reshape(d, d))
    documents = table["documents"].to_numpy() if "documents" in table.column_names else None
    return Vocabulary(
        words, prepared, whitening or None, meta["inertia_per_patch"], documents, meta.get("n_documents") or 0
    )


def _decoded(text: str) -> Matrix:
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float64)


def windows(images: NDArray[Any], preparation: Preparation) -> NDArray[Any]:
    """All patches: count x rows x columns x values, and of a patch row, column, channel in this order."""
    height, width = preparation.size
    cut = np.lib.stride_tricks.sliding_window_view(images, (height, width), axis=(1, 2))
    cut = np.moveaxis(cut[:, :: preparation.stride, :: preparation.stride], 3, -1)
    return cut.reshape(*cut.shape[:3], -1)


def normalized(images: Images, preparation: Preparation) -> Matrix:
    """All patches, normalised and not whitened."""
    if preparation.normalize == "image":
        return windows(scaled(images.reshape(len(images), -1)).reshape(images.shape), preparation)
    patches = windows(images, preparation).astype(np.float64)
    if preparation.normalize == "none":
        return patches
    if preparation.normalize != "patch":
        raise ValueError(f"patches.normalize = {preparation.normalize!r} is not known here")
    patches -= patches.mean(-1, keepdims=True)
    spread = np.sqrt((patches * patches).mean(-1, keepdims=True) + preparation.epsilon)
    return np.divide(patches, spread, out=np.zeros_like(patches), where=spread > 0)


def prepare(images: Images, vocabulary: Vocabulary) -> Matrix:
    """All patches as they are compared with words."""
    patches = normalized(images, vocabulary.preparation)
    whitening = vocabulary.whitening
    return (patches - whitening.mean) @ whitening.matrix.T if whitening else patches


def cells(rows: int, columns: int, grids: Sequence[Grid]) -> Matrix:
    """Which patch is in which cell, grid by grid and row-major in each: cells x patches, ones and zeros."""
    found = []
    for cell_rows, cell_columns in grids:
        row = np.arange(rows) * cell_rows // rows
        column = np.arange(columns) * cell_columns // columns
        cell = (row[:, None] * cell_columns + column).ravel()
        found.append(cell == np.arange(cell_rows * cell_columns)[:, None])
    return np.concatenate(found).astype(np.float64)


def squared_distances(patches: Matrix, words: Matrix) -> Matrix:
    """Patches x words, each summed over differences: no cancellation."""
    total = np.zeros((len(patches), len(words)))
    for value in range(words.shape[1]):
        difference = patches[:, value, None] - words[None, :, value]
        total += difference * difference
    return total


def activations(patches: Matrix, vocabulary: Vocabulary, encoding: str, nearest: int) -> Matrix:
    """What each patch adds to its cell: patches x k, or patches x (k * d) for vlad."""
    words = vocabulary.words
    k, d = words.shape
    if encoding in ("hard", "vlad"):
        best, _ = nearest_words(patches, words)
        chosen = np.eye(k)[best]
        if encoding == "hard":
            return chosen
        return (chosen[:, :, None] * (patches - words[best])[:, None, :]).reshape(-1, k * d)
    squared = squared_distances(patches, words)
    if encoding == "triangle":
        distances = np.sqrt(squared)
        return np.maximum(0, distances.mean(1, keepdims=True) - distances)
    if encoding == "soft":
        order = np.argsort(squared, axis=1, kind="stable")[:, :nearest]
        few = np.take_along_axis(squared, order, 1)
        shares = np.exp(-(few - few[:, :1]) / vocabulary.inertia_per_patch)
        shares /= shares.sum(1, keepdims=True)
        dense = np.zeros_like(squared)
        np.put_along_axis(dense, order, shares, 1)
        return dense
    raise ValueError(f"features.encoding = {encoding!r} is not known here")


def weighted(
    pooled: NDArray[Any], vocabulary: Vocabulary, encoding: str, weighting: str | Sequence[str]
) -> NDArray[Any]:
    """Vectors after all weightings, in their order; `pooled` is images x cells x words x what a word has."""
    vectors = pooled
    whole = (1, 2, 3)
    for name in [weighting] if isinstance(weighting, str) else weighting:
        if name in ("frequency", "hellinger") and encoding != "vlad":
            vectors = _divided(vectors, vectors.sum(whole, keepdims=True))
        match name:
            case "count" | "frequency":
                pass
            case "hellinger":
                vectors = np.sign(vectors) * np.sqrt(np.abs(vectors))
            case "l2":
                vectors = _divided(vectors, np.sqrt((vectors * vectors).sum(whole, keepdims=True)))
            case "tf-idf":
                vectors = vectors * vocabulary.idf.astype(vectors.dtype)[:, None]
            case "intra":
                vectors = _divided(vectors, np.sqrt((vectors * vectors).sum(3, keepdims=True)))
            case _:
                raise ValueError(f"features.weighting = {name!r} is not known here")
    return vectors.reshape(len(vectors), -1)


def _divided(vectors: NDArray[Any], by: NDArray[Any]) -> NDArray[Any]:
    return np.divide(vectors, by, out=np.zeros_like(vectors), where=by != 0)


def encode(
    images: Images,
    vocabulary: Vocabulary,
    encoding: str = "hard",
    pooling: Sequence[Grid] = ((1, 1),),
    weighting: str | Sequence[str] = "count",
    nearest: int = 5,
) -> Matrix:
    """A vector for each image, in float64, image by image."""
    rows = []
    for image in images:
        patches = prepare(image[None], vocabulary)[0]
        added = activations(patches.reshape(-1, patches.shape[-1]), vocabulary, encoding, nearest)
        rows.append(cells(*patches.shape[:2], pooling) @ added)
    k = len(vocabulary.words)
    pooled = np.array(rows).reshape(len(images), len(rows[0]), k, -1)
    return weighted(pooled, vocabulary, encoding, weighting)


def documents(images: Images, vocabulary: Vocabulary) -> NDArray[np.int64]:
    """How many images each word is in."""
    return (encode(images, vocabulary) > 0).sum(0)


class FastEncoder:
    """Counts and triangles in float32: one matrix product a chunk of images, a chunk a thread."""

    def __init__(self, vocabulary: Vocabulary, encoding: str = "triangle", pooling: Sequence[Grid] = ((1, 1),)) -> None:
        """Lays out the words so that one product gives squared distances."""
        if encoding not in ("hard", "triangle"):
            raise ValueError(f"there is no fast way for {encoding!r} here")
        self.vocabulary = vocabulary
        self.encoding = encoding
        self.pooling = pooling
        words = vocabulary.words
        # [z, |z|^2, 1] @ this = |z|^2 - 2 z.c + |c|^2
        self.product = np.concatenate([-2 * words.T, np.ones((1, len(words))), (words * words).sum(1)[None]])
        self.product = self.product.astype(np.float32)
        self.mean_of = np.full((len(words), 1), 1 / len(words), np.float32)

    def prepared(self, images: Images) -> tuple[Fast, tuple[int, int]]:
        """Patches, a row each with two more columns for the product, and how many rows and columns of them."""
        preparation, whitening = self.vocabulary.preparation, self.vocabulary.whitening
        pixels = images.astype(np.float32)
        if preparation.normalize == "image":
            flat = pixels.reshape(len(images), -1)
            flat -= flat.mean(1, keepdims=True)
            spread = flat.std(1, keepdims=True)
            flat /= np.where(spread == 0, 1, spread)
        cut = windows(pixels, preparation)
        patches = cut.reshape(-1, cut.shape[-1])
        if preparation.normalize == "patch":
            patches = patches - patches.mean(1, keepdims=True)
            spread = np.einsum("ij,ij->i", patches, patches)[:, None] / patches.shape[1] + np.float32(
                preparation.epsilon
            )
            patches /= np.sqrt(np.where(spread == 0, 1, spread))
        d = patches.shape[1]
        laid_out = np.empty((len(patches), d + 2), np.float32)
        if whitening:
            patches = patches - whitening.mean.astype(np.float32)
            np.matmul(patches, whitening.matrix.T.astype(np.float32), out=laid_out[:, :d])
        else:
            laid_out[:, :d] = patches
        np.einsum("ij,ij->i", laid_out[:, :d], laid_out[:, :d], out=laid_out[:, d])
        laid_out[:, d + 1] = 1
        return laid_out, cut.shape[1:3]

    def chunk(self, images: Images) -> Fast:
        """Cells x words for some images at once."""
        patches, shape = self.prepared(images)
        values = patches @ self.product
        if self.encoding == "triangle":
            np.maximum(values, 0, out=values)
            np.sqrt(values, out=values)
            np.subtract(values @ self.mean_of, values, out=values)
            np.maximum(values, 0, out=values)
        else:
            best = values.argmin(1)
            values[:] = 0
            values[np.arange(len(best)), best] = 1
        where = cells(*shape, self.pooling).astype(np.float32)
        return where @ values.reshape(len(images), -1, values.shape[1])

    def __call__(self, images: Images, weighting: str | Sequence[str] = "count", threads: int = THREADS) -> Fast:
        """A vector for each image."""
        height, width = images.shape[1:3]
        preparation = self.vocabulary.preparation
        at_once = ((height - preparation.size[0]) // preparation.stride + 1) * (
            (width - preparation.size[1]) // preparation.stride + 1
        )
        step = max(1, CHUNK_VALUES // (at_once * len(self.vocabulary.words)))
        d = sum(rows * columns for rows, columns in self.pooling) * len(self.vocabulary.words)
        vectors = np.empty((len(images), d), np.float32)

        def part(start: int) -> None:
            pooled = self.chunk(images[start : start + step])[..., None]
            vectors[start : start + step] = weighted(pooled, self.vocabulary, self.encoding, weighting)

        with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
            list(pool.map(part, range(0, len(images), step)))
        return vectors


def encode_fast(
    images: Images,
    vocabulary: Vocabulary,
    encoding: str = "hard",
    pooling: Sequence[Grid] = ((1, 1),),
    weighting: str | Sequence[str] = "count",
) -> Fast:
    """As `encode`, in float32 and for counts and triangles."""
    return FastEncoder(vocabulary, encoding, pooling)(images, weighting)


def sample(images: Images, preparation: Preparation, count: int, seed: int) -> Fast:
    """Random patches, normalised, each from a random place of a random image."""
    rng = np.random.default_rng(seed)
    height, width = preparation.size
    chosen = np.sort(rng.integers(len(images), size=count))
    top = rng.integers(images.shape[1] - height + 1, size=count)
    left = rng.integers(images.shape[2] - width + 1, size=count)
    if preparation.normalize == "image":
        used, chosen = np.unique(chosen, return_inverse=True)
        images = scaled(images[used].reshape(len(used), -1)).reshape(-1, *images.shape[1:])
    views = np.lib.stride_tricks.sliding_window_view(images, (height, width), axis=(1, 2))
    cut = np.moveaxis(views[chosen, top, left], 1, -1)
    if preparation.normalize == "patch":
        return np.concatenate(
            [
                normalized(part, preparation).reshape(len(part), -1).astype(np.float32)
                for part in np.array_split(cut, 64)
            ]
        )
    return cut.reshape(count, -1).astype(np.float32)


def whiten(patches: Fast, epsilon: float) -> Whitening:
    """`V diag(1 / sqrt(lambda + epsilon)) V^T` of their population covariance."""
    mean = patches.mean(0, dtype=np.float64)
    covariance = np.cov(patches, rowvar=False, bias=True, dtype=np.float64)
    values, vectors = np.linalg.eigh(covariance)
    matrix = (vectors / np.sqrt(np.maximum(values, 0) + epsilon)) @ vectors.T
    # As a vocabulary holds them.
    return Whitening(mean.astype(np.float32).astype(np.float64), matrix.astype(np.float32).astype(np.float64))


def spherical(patches: Fast, k: int, steps: int, seed: int) -> Fast:
    """k-means whose centroids have unit length after each step; the dead are seeded anew."""
    rng = np.random.default_rng(seed)
    words = _unit(patches[rng.choice(len(patches), k, replace=False)])
    for _ in range(steps):
        sums = np.zeros_like(words, dtype=np.float64)
        counts = np.zeros(k, np.int64)
        for part in np.array_split(patches, max(1, len(patches) // 8192)):
            # All words have the same length, so the nearest has the largest product.
            labels = (part @ words.T).argmax(1)
            order = np.argsort(labels, kind="stable")
            present, first = np.unique(labels[order], return_index=True)
            sums[present] += np.add.reduceat(part[order], first, axis=0, dtype=np.float64)
            counts += np.bincount(labels, minlength=k)
        dead = np.flatnonzero(counts == 0)
        sums[dead] = patches[rng.choice(len(patches), len(dead), replace=False)]
        words = _unit(sums.astype(np.float32))
    return words


def _unit(rows: Fast) -> Fast:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths == 0, 1, lengths)


def learn(
    images: Images,
    preparation: Preparation,
    k: int,
    algorithm: str = "mini-batch",
    n_patches: int = 400_000,
    seed: int = 0,
    steps: int = 20,
) -> Vocabulary:
    """Words of random patches by scikit-learn (`mini-batch`, `lloyd`), or `spherical` ones, which it does not have."""
    patches = sample(images, preparation, n_patches, seed)
    whitening = None
    if preparation.whiten_epsilon is not None:
        whitening = whiten(patches, preparation.whiten_epsilon)
        patches = (patches - whitening.mean.astype(np.float32)) @ whitening.matrix.T.astype(np.float32)
    if algorithm == "spherical":
        words = spherical(patches, k, steps, seed)
    elif algorithm == "lloyd":
        words = KMeans(k, n_init=1, max_iter=steps, random_state=seed, init="random").fit(patches).cluster_centers_
    else:
        model = MiniBatchKMeans(k, n_init=1, batch_size=max(4096, 4 * k), max_iter=steps, random_state=seed)
        words = model.fit(patches).cluster_centers_
    words = words.astype(np.float32)
    few = patches[:: max(1, len(patches) // 50_000)]
    squared = (words * words).sum(1) - 2 * few @ words.T
    inertia = float((squared.min(1) + (few * few).sum(1)).mean(dtype=np.float64))
    return Vocabulary(words.astype(np.float64), preparation, whitening, inertia)
