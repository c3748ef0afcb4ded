"""Measures what `bovw`'s vectors are worth and prints tables: exactness, clusters, linear classifiers, speed.

    scripts/quality [exact] [purity] [linear] [cifar] [speed] [--quick] [--no-build]

Without a table named all of them are made, in half an hour or more on two cores; `--quick` makes the first three on a
part of the data, in minutes. Fails where something that is asked for is missed. `exact` holds every encoding, with each
normalisation, whitening, pooling and weighting, against quality_reference.py, given the same words. `cifar` and `speed`
set bovw beside a pipeline in NumPy and scikit-learn.
"""

import argparse
import io
import json
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.blas import ssyrk
from scipy.optimize import minimize
from sklearn.cluster import KMeans
from sklearn.metrics.pairwise import euclidean_distances
from threadpoolctl import threadpool_limits

import mnist
import quality_reference as reference
from compare_clusters import purity
from mnist import BOVW
from patches import image_column
from quality_reference import THREADS, FastEncoder, Images, Preparation, Vocabulary, documents, encode, load
from run_dir import REPOSITORY, RunDir, fixed_size_lists

OUT = REPOSITORY / "out" / "quality"
CONFIGS = REPOSITORY / "configs"
TABLES = ("exact", "purity", "linear", "cifar", "speed")
QUICK_TRAIN, QUICK_TEST = 6_000, 2_000
"""Images of MNIST with --quick, for which less is asked: what is asked of all of it, such a part cannot give."""
QUICK_PURITY = (0.70, 0.82)
QUICK_WHOLE, QUICK_CELLS = 86.0, 95.0
CLASSES = 10
TOLERANCE = 1e-5
SEED = 0

Fast = NDArray[np.float32]
Labels = NDArray[np.int64]
Table = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """A figure with what is asked for and aimed at; `is_at_most` where less is better."""

    what: str
    measured: float
    asked: float
    aim: float | None = None
    is_at_most: bool = False

    @property
    def is_met(self) -> bool:
        """Whether what is asked for is there."""
        return self.measured <= self.asked if self.is_at_most else self.measured >= self.asked

    def __str__(self) -> str:
        """A line of the table of goals."""
        aim = f"{self.aim:9.4g}" if self.aim is not None else " " * 9
        verdict = "met" if self.is_met else "MISSED"
        if self.is_met and self.aim is not None and self.measured < self.aim:
            verdict = "met, short of the aim"
        return f"{self.what:58}  {self.measured:9.4g}  {self.asked:9.4g}  {aim}  {verdict}"


@dataclass(frozen=True)
class Data:
    """A set of labelled images as shards, and for Python decoded."""

    name: str
    color: str
    files: dict[str, list[Path]]

    def shards(self, part: str) -> list[Path]:
        """The shards of `train` or `test`."""
        return self.files[part]

    def labels(self, part: str) -> Labels:
        """All labels."""
        return np.concatenate(
            [pq.read_table(file, columns=["label"])["label"].to_numpy() for file in self.shards(part)]
        )

    def images(self, part: str, first: int | None = None) -> Images:
        """All images, or the first of them."""
        found: list[NDArray[np.uint8]] = []
        for file in self.shards(part):
            wanted = None if first is None else first - len(found)
            if wanted is not None and wanted <= 0:
                break
            table = pq.read_table(file)
            found += [decoded(value) for value in table[image_column(table.schema)].slice(0, wanted).to_pylist()]
        return np.stack(found)


def decoded(value: Table) -> NDArray[np.uint8]:
    """An image of Hugging Face's layout: height x width x channels."""
    with Image.open(io.BytesIO(value["bytes"])) as image:
        pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def found(name: str, color: str) -> Data | None:
    """A data set where it usually is, if it is there."""
    for folder in (REPOSITORY / "data" / name, REPOSITORY.parent / "shared" / "data" / name):
        files = {part: sorted(folder.resolve().glob(f"{part}-*.parquet")) for part in ("train", "test")}
        if all(files.values()):
            return Data(name, color, files)
    return None


def part_of(data: Data, out: Path, **rows: int) -> Data:
    """The first rows of each part as shards of their own, their images as they are."""
    files = {}
    for part, count in rows.items():
        tables, left = [], count
        for shard in data.shards(part):
            tables.append(pq.read_table(shard).slice(0, left))
            left -= len(tables[-1])
            if left <= 0:
                break
        out.mkdir(parents=True, exist_ok=True)
        files[part] = [out / f"{part}.parquet"]
        pq.write_table(pa.concat_tables(tables), files[part][0])
    return Data(data.name, data.color, files)


def lossless(data: Data, count: int, out: Path) -> tuple[Path, Images]:
    """A shard of the first images as PNG, which all decoders read alike, and a blank one; and the images."""
    images = data.images("train", count)
    images = np.concatenate([images, np.full_like(images[:1], 128)])
    values = []
    for number, image in enumerate(images):
        png = io.BytesIO()
        Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(png, "PNG")
        values.append({"bytes": png.getvalue(), "path": f"{number}.png"})
    out.mkdir(parents=True, exist_ok=True)
    shard = out / f"{data.name}.parquet"
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    labels = np.append(data.labels("train")[:count], 0)
    pq.write_table(pa.table({"image": pa.array(values, kind), "label": labels}), shard)
    return shard, images


def recipe(name: str, data: Data, **tables: Table) -> Table:
    """A job of configs/ over other keys and without its paths, in whatever tables it has."""
    job = tomllib.loads((CONFIGS / f"{name}.toml").read_text())
    for table in ("input", "output", "cluster"):
        job.pop(table, None)
    job["input"] = {"color": data.color}
    return {key: job.get(key, {}) | tables.get(key, {}) for key in job | tables}


def run(job: Table, shards: Sequence[Path], out: Path, words: Path | None = None) -> RunDir:
    """Runs a job over shards from the start; with finished words, where they are given, in place of learning any."""
    job = job | {"output": {"dir": str(out)}}
    job["input"] = job.get("input", {}) | {"files": [str(shard) for shard in shards]}
    job["run"] = {"seed": SEED} | job.get("run", {}) | {"threads": THREADS}
    if words:
        job["vocabulary"] = {"from": str(words)}
        job.pop("sample", None)
    out.parent.mkdir(parents=True, exist_ok=True)
    file = out.with_name(f"{out.name}.toml")
    file.write_text("".join(lines(job)))
    done = subprocess.run([*mnist.run(file)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bovw run {file} failed with {done.returncode}:\n{done.stderr}\n{file.read_text()}")
    return RunDir(out)


def lines(job: Table) -> list[str]:
    """A job as TOML: every key on a line, values as JSON, which TOML takes for what occurs here."""
    text = [
        f"{table}.{key} = {json.dumps(value)}\n"
        for table, keys in job.items()
        if table != "cluster"
        for key, value in keys.items()
    ]
    for cluster in job.get("cluster", []):
        text += ["[[cluster]]\n", *(f"{key} = {json.dumps(value)}\n" for key, value in cluster.items())]
    return text


def vectors(run: RunDir) -> Fast:
    """All features of a run; read in pieces, so that no more than them is ever in memory."""
    files = [pq.ParquetFile(file) for file in run.features_files]
    count = sum(file.metadata.num_rows for file in files)
    width = files[0].schema_arrow.field("features").type.list_size
    rows = np.empty((count, width), np.float32)
    start = 0
    for file in files:
        for batch in file.iter_batches(1024, columns=["features"]):
            rows[start : start + len(batch)] = fixed_size_lists(batch["features"])
            start += len(batch)
    return rows


# Linear classifiers.


@dataclass
class Linear:
    """One classifier against all others for each class: squared hinge loss, an L2 penalty, L-BFGS in float32.

    `penalty` is that of half of |w|^2 for a loss that is a mean; as an SVM's C it is `1 / (penalty * n)`. Values of a
    vector go up and down together, which L-BFGS alone takes hundreds of steps to sort out; so it looks for `v = U w`,
    where `U^T U` is the rows' second moment and the penalty, and needs about ten.
    """

    penalties: Sequence[float] = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
    steps: int = 12
    weights: Fast = field(default_factory=lambda: np.zeros((0, CLASSES), np.float32))
    bias: Fast = field(default_factory=lambda: np.zeros(CLASSES, np.float32))
    penalty: float = 0.0

    def fit(self, rows: Fast, labels: Labels) -> "Linear":
        """Chooses the penalty by accuracy on the last tenth, the strongest of the best, and fits all rows with it."""
        moment = ssyrk(1 / len(rows), rows.T)
        kept = len(rows) - len(rows) // 10
        best = -1.0
        for penalty in self.penalties:
            self._minimize(rows[:kept], labels[:kept], penalty, moment)
            accuracy = self.accuracy(rows[kept:], labels[kept:])
            if accuracy > best:
                best, self.penalty = accuracy, penalty
        self._minimize(rows, labels, self.penalty, moment)
        return self

    def _minimize(self, rows: Fast, labels: Labels, penalty: float, moment: Fast) -> None:
        n, d = rows.shape
        sides = np.full((n, CLASSES), -1, np.float32)
        sides[np.arange(n), labels] = 1
        # Only its upper half is filled, and read.
        root = moment.copy(order="F")
        # Less would drown in the rounding of the largest directions.
        root[np.diag_indices(d)] += np.float32(max(penalty, 0.003))
        root = cholesky(root, overwrite_a=True, check_finite=False)

        def solved(right: NDArray[Any], trans: str) -> Fast:
            return solve_triangular(root, right.astype(np.float32), trans=trans, check_finite=False)

        def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            found = flat.reshape(d + 1, CLASSES)
            weights = solved(found[:d], "N")
            short = rows @ weights
            short += found[d].astype(np.float32)
            short *= sides
            np.maximum(np.subtract(1, short, out=short), 0, out=short)
            value = np.einsum("ij,ij->", short, short, dtype=np.float64) / n
            value += penalty / 2 * np.einsum("ij,ij->", weights, weights, dtype=np.float64)
            short *= sides
            short *= np.float32(-2 / n)
            gradient = np.empty_like(found)
            gradient[:d] = solved(rows.T @ short + np.float32(penalty) * weights, "T")
            gradient[d] = short.sum(0, dtype=np.float64)
            return float(value), gradient.ravel()

        options = {"maxiter": self.steps, "ftol": 1e-4}
        found = minimize(loss, np.zeros((d + 1) * CLASSES), jac=True, method="L-BFGS-B", options=options).x
        found = found.reshape(d + 1, CLASSES)
        self.weights, self.bias = solved(found[:d], "N"), found[d].astype(np.float32)

    def accuracy(self, rows: Fast, labels: Labels) -> float:
        """Share of the rows whose class is right."""
        return float(((rows @ self.weights + self.bias).argmax(1) == labels).mean())


def standardize(train: Fast, test: Fast) -> None:
    """Mean 0 and variance 1 of each value over the training rows, in place; a value that never varies becomes 0."""
    pieces = np.array_split(train, max(1, len(train) // 2048))
    mean = sum(piece.sum(0, dtype=np.float64) for piece in pieces) / len(train)
    variance = sum(((piece - mean) ** 2).sum(0) for piece in pieces) / len(train)
    varies = variance > 1e-12 * max(variance.max(), np.finfo(np.float64).tiny)
    scale = np.where(varies, 1 / np.sqrt(np.where(varies, variance, 1)), 0).astype(np.float32)
    for rows in (train, test):
        rows -= mean.astype(np.float32)
        rows *= scale


def classified(what: str, train: Fast, train_labels: Labels, test: Fast, test_labels: Labels) -> float:
    """Accuracy in percent of a linear classifier; prints its line. Overwrites the rows."""
    started = time.perf_counter()
    standardize(train, test)
    model = Linear().fit(train, train_labels)
    accuracy = 100 * model.accuracy(test, test_labels)
    shown = f"{1 / (model.penalty * len(train)):10.3g}"
    seconds = time.perf_counter() - started
    print(f"{what:44}  {len(train):7,}  {train.shape[1]:6,}  {shown}  {accuracy:8.2f}  {seconds:8.0f}", flush=True)
    return accuracy


def print_classified_head(title: str) -> None:
    """The head of the table that `classified` fills."""
    print(f"\n{title}")
    print(f"{'features':44}  {'train':>7}  {'dims':>6}  {'C':>10}  {'accuracy':>8}  {'seconds':>8}")


# Exactness.


@dataclass(frozen=True)
class Case:
    """A combination of what can be asked for; keys as in job files."""

    patches: Table
    features: Table
    vocabulary: Table = field(default_factory=dict)

    def __str__(self) -> str:
        """In a line."""
        patches, features = self.patches, self.features
        grids = "+".join("x".join(map(str, grid)) for grid in grids_of(features["pooling"]))
        weighting = features["weighting"]
        parts = [
            features["encoding"] + (f" {features['nearest']}" if "nearest" in features else ""),
            patches["normalize"] + (f" {patches['epsilon']:g}" if "epsilon" in patches else ""),
            patches.get("whiten", "none") + (f" {patches['whiten_epsilon']:g}" if "whiten_epsilon" in patches else ""),
            "x".join(map(str, patches["size"])) + f"/{patches['stride']}",
            grids,
            weighting if isinstance(weighting, str) else ",".join(weighting),
        ]
        text = "".join(f"{part:{width}}" for part, width in zip(parts, (12, 12, 10, 7, 10, 16), strict=True))
        return text + (" spherical" if self.vocabulary.get("spherical") else "")


def grids_of(pooling: list[Any]) -> list[tuple[int, int]]:
    """One grid or a list of them as a list."""
    grids = pooling if isinstance(pooling[0], list) else [pooling]
    return [(rows, columns) for rows, columns in grids]


def patches(normalize: str, whiten_epsilon: float | None = None, epsilon: float | None = None, **keys: Any) -> Table:  # noqa: ANN401
    """A table `patches`; keys that say nothing are left out."""
    table: Table = {"size": [6, 6], "stride": 1} | keys | {"normalize": normalize}
    if epsilon is not None:
        table["epsilon"] = epsilon
    if whiten_epsilon is not None:
        table |= {"whiten": "zca", "whiten_epsilon": whiten_epsilon}
    return table


def features(encoding: str, pooling: list[Any], weighting: str | list[str], nearest: int | None = None) -> Table:
    """A table `features`."""
    table: Table = {"encoding": encoding, "pooling": pooling, "weighting": weighting}
    return table if nearest is None else table | {"nearest": nearest}


PYRAMID = [[1, 1], [2, 2]]
FEW = {"k": 16}
CASES = {
    "mnist": (
        Case(patches("image"), features("hard", [1, 1], "count")),
        Case(patches("image"), features("hard", [2, 2], "hellinger")),
        Case(patches("none", stride=2), features("hard", [3, 2], "l2")),
        Case(patches("patch"), features("hard", PYRAMID, "frequency")),
        Case(patches("patch", 0.1), features("hard", [2, 2], "count")),
        Case(patches("image"), features("hard", [2, 2], "tf-idf")),
        Case(patches("image", 0.01), features("hard", PYRAMID, ["tf-idf", "hellinger", "l2"])),
        Case(patches("image"), features("triangle", [2, 2], "count")),
        Case(patches("patch", 0.1), features("triangle", [2, 2], "count"), {"spherical": True}),
        Case(patches("patch", 1.0, 100.0, size=[5, 7]), features("triangle", PYRAMID, "hellinger")),
        Case(patches("none", 0.1, stride=2), features("triangle", [4, 4], ["hellinger", "l2"])),
        Case(patches("image"), features("soft", [2, 2], "count")),
        Case(patches("patch", 0.1), features("soft", PYRAMID, "hellinger", 3)),
        Case(patches("none"), features("soft", [1, 1], ["tf-idf", "l2"])),
        Case(patches("image"), features("vlad", [1, 1], "count"), FEW),
        Case(patches("patch", 0.1), features("vlad", [2, 2], ["intra", "l2"]), FEW),
        Case(patches("none", 1.0), features("vlad", PYRAMID, ["hellinger", "l2"]), FEW),
    ),
    "cifar10": (
        Case(patches("image"), features("hard", [2, 2], "count")),
        Case(patches("patch", 0.1), features("hard", PYRAMID, "count")),
        Case(patches("patch", 0.1), features("triangle", [2, 2], "count")),
        Case(patches("patch", 0.1, stride=2), features("triangle", [3, 3], ["hellinger", "l2"]), {"spherical": True}),
        Case(patches("none", stride=3), features("soft", [2, 2], "frequency")),
        Case(patches("patch", 0.1), features("vlad", [1, 1], ["intra", "l2"]), FEW),
    ),
}
"""Combinations that are held against float64, by data set."""


def difference(case: Case, job: Table, shard: Path, images: Images, out: Path) -> float:
    """The largest relative error of a vector, |ours - theirs| / |theirs| (Euclidean); infinite where counts differ."""
    done = run(job, [shard], out)
    table = pq.read_table(done.features_files[0])
    ours = fixed_size_lists(table["features"]).astype(np.float64)
    vocabulary = load(done.vocabulary_file, case.patches["stride"])
    grids = grids_of(case.features["pooling"])
    weighting = case.features["weighting"]
    theirs = encode(images, vocabulary, case.features["encoding"], grids, weighting, case.features.get("nearest", 5))
    if ours.shape != theirs.shape:
        raise SystemExit(f"{case}: {ours.shape} vectors, should be {theirs.shape}")
    if vocabulary.documents is not None and not np.array_equal(vocabulary.documents, documents(images, vocabulary)):
        print(f"{case}: documents are not counted right")
        return np.inf
    is_count = case.features["encoding"] == "hard" and weighting == "count"
    if is_count and not np.array_equal(ours, theirs):
        print(f"{case}: counts of {(ours != theirs).any(1).sum()} images differ")
        return np.inf
    length = np.linalg.norm(theirs, axis=1)
    return float((np.linalg.norm(ours - theirs, axis=1) / np.where(length > 0, length, 1)).max())


def exact(options: argparse.Namespace) -> list[Goal]:
    """The table of differences to float64."""
    goals = []
    for name, color in (("mnist", "grey"), ("cifar10", "rgb")):
        data = found(name, color)
        if data is None:
            print(f"\nexact, {name}: skipped, it is not there")
            continue
        count = (options.exact_images or (150 if options.quick else 600)) // (1 if color == "grey" else 3)
        shard, images = lossless(data, count, OUT / "exact")
        print(f"\nexact, {name} ({color}): {count} images and a blank one, relative error beside float64")
        worst = 0.0
        for case in CASES[name]:
            job = {
                "input": {"color": color, "image": "image", "label": "label"},
                "patches": case.patches,
                "sample": {"every": 1, "per_image": 0.25},
                "vocabulary": {"k": 50, "n_init": 1, "max_iter": 20} | case.vocabulary,
                "features": case.features,
            }
            value = difference(case, job, shard, images, OUT / "exact" / "run")
            worst = max(worst, value)
            print(f"{case!s:80}  {value:9.2e}", flush=True)
        goals.append(Goal(f"exact, {name}: relative error", worst, TOLERANCE, is_at_most=True))
    return goals


# Clusters.


def purities(rows: Fast, labels: Labels) -> list[float]:
    """Purity of k-means with 10 and 20 clusters."""
    found = []
    for k in (10, 20):
        clusters = KMeans(k, n_init=10, max_iter=300, random_state=SEED).fit(rows).labels_
        found.append(purity(labels, clusters))
    return found


def clustered(options: argparse.Namespace) -> list[Goal]:
    """The table of purities: test images of MNIST by vectors with words of the training images."""
    data = mnist_data(options)
    if data is None:
        return []
    labels, shards = data.labels("test"), data.shards("test")
    print(f"\npurity of k-means, {len(labels):,} test images of MNIST, n_init 10")
    print(f"{'features':30}  {'by':14}  {'k = 10':>7}  {'k = 20':>7}")

    def line(what: str, by: str, values: Sequence[float]) -> None:
        print(f"{what:30}  {by:14}  {values[0]:7.4f}  {values[1]:7.4f}", flush=True)

    if not options.quick:
        line(
            "pixels", "scikit-learn", purities(data.images("test").reshape(len(labels), -1).astype(np.float32), labels)
        )
    values: dict[str, Sequence[float]] = {}
    for what, changed in (("counts of 50 words", {"pooling": [1, 1], "weighting": "count"}), ("2x2, hellinger", {})):
        job = recipe("mnist-2x2", data, features=changed)
        words = run(job, data.shards("train"), OUT / "purity" / "words").vocabulary_file
        job["cluster"] = [{"of": "features", "k": [10, 20], "n_init": 10, "algorithm": "lloyd"}]
        done = run(job, shards, OUT / "purity" / "run", words)
        values[what] = purities(vectors(done), labels)
        line(what, "scikit-learn", values[what])
        line(what, "bovw", [entry["evaluation"]["purity"] for entry in done.manifest["clusters"]])
    ten, twenty = values["2x2, hellinger"]
    if options.quick:
        asked = QUICK_PURITY
        return [Goal("purity, part of MNIST, 2x2, k = 10", ten, asked[0]), Goal("purity, k = 20", twenty, asked[1])]
    return [Goal("purity, 2x2, hellinger, k = 10", ten, 0.78, 0.82), Goal("purity, k = 20", twenty, 0.90, 0.92)]


# Accuracy.


def mnist_data(options: argparse.Namespace) -> Data | None:
    """MNIST, or with --quick the first of it."""
    data = found("mnist", "grey")
    if data is None:
        print("\nMNIST: skipped, it is not there; scripts/fetch_mnist gets it")
    elif options.quick:
        return part_of(data, OUT / "quick", train=QUICK_TRAIN, test=QUICK_TEST)
    return data


def accuracy(what: str, job: Table, data: Data, out: Path) -> float:
    """Accuracy of a job: words and vectors of the training images, vectors of the test images with the same words."""
    train = run(job, data.shards("train"), out / "train")
    test = run(job, data.shards("test"), out / "test", train.vocabulary_file)
    rows = vectors(train), vectors(test)
    found = classified(what, rows[0], data.labels("train"), rows[1], data.labels("test"))
    for done in (train, test):
        shutil.rmtree(done.path / "features")
    return found


def linear(options: argparse.Namespace) -> list[Goal]:
    """The table of linear classifiers of MNIST."""
    data = mnist_data(options)
    if data is None:
        return []
    out = OUT / "linear"
    print_classified_head(f"MNIST, {len(data.labels('test')):,} test images, a linear classifier")
    job = recipe("mnist-2x2", data, features={"pooling": [1, 1]})
    whole = accuracy("hard, k = 50, hellinger", job, data, out)
    cells = accuracy("hard, k = 50, 2x2, hellinger", recipe("mnist-2x2", data), data, out)
    if options.quick:
        return [
            Goal("MNIST, part of it, k = 50, %", whole, QUICK_WHOLE),
            Goal("MNIST, part of it, k = 50, 2x2, %", cells, QUICK_CELLS),
        ]
    best = accuracy("configs/mnist-best.toml", recipe("mnist-best", data), data, out)
    return [
        Goal("MNIST, k = 50, %", whole, 90, 93),
        Goal("MNIST, k = 50, 2x2, %", cells, 97.5, 98),
        Goal("MNIST, configs/mnist-best.toml, %", best, 99.2, 99.5),
    ]


def preparation_of(job: Table) -> Preparation:
    """A job's `patches` for the reference."""
    table = job["patches"]
    whiten_epsilon = table.get("whiten_epsilon", 0.1) if table.get("whiten") == "zca" else None
    height, width = table["size"]
    normalize = table.get("normalize", "image")
    return Preparation((height, width), normalize, table.get("epsilon", 10.0), whiten_epsilon, table.get("stride", 1))


def cifar(options: argparse.Namespace) -> list[Goal]:
    """The table of linear classifiers of CIFAR-10, bovw's vectors beside the reference's."""
    data = cifar_data()
    if data is None:
        return []
    goals = []
    print_classified_head("CIFAR-10, colour, 10,000 test images, a linear classifier")
    images = {part: data.images(part) for part in ("train", "test")}
    for k in options.words:
        pairs = [cifar_pair(data, images, k, SEED + seed) for seed in range(options.seeds)]
        ours, theirs = (sum(found) / len(pairs) for found in zip(*pairs, strict=True))
        what = f"CIFAR-10, k = {k}, %, no worse than the reference by 0.3"
        goals.append(Goal(what, ours, theirs - 0.3, theirs + 0.5))
    return goals


def cifar_pair(data: Data, images: dict[str, Images], k: int, seed: int) -> tuple[float, float]:
    """Accuracy of bovw's vectors and of the reference's, with samples and words of a seed."""
    job = recipe("cifar10-triangle", data, vocabulary={"k": k})
    job.setdefault("run", {})["seed"] = seed
    ours = accuracy(f"triangle, k = {k}, seed {seed}: bovw", job, data, OUT / "cifar")
    spherical = job["vocabulary"].get("spherical")
    vocabulary = reference.learn(
        images["train"], preparation_of(job), k, "spherical" if spherical else "mini-batch", seed=seed
    )
    encoder = FastEncoder(vocabulary, "triangle", grids_of(job["features"]["pooling"]))
    rows = [encoder(images[part], job["features"].get("weighting", "count")) for part in ("train", "test")]
    what = f"triangle, k = {k}, seed {seed}: the reference"
    return ours, classified(what, rows[0], data.labels("train"), rows[1], data.labels("test"))


def cifar_data() -> Data | None:
    """CIFAR-10, if it is there."""
    data = found("cifar10", "rgb")
    if data is None:
        print("\nCIFAR-10: skipped, it is not there")
    return data


# Speed.

SPEED_WORDS = 1600
SPEED_IMAGES = 300
ROUNDS = 3


def peak() -> float:
    """What the machine does in single precision, in GFLOP/s: a large product by NumPy's BLAS."""
    n = 2048
    a = np.ones((n, n), np.float32)
    with threadpool_limits(THREADS):
        return max(2 * n**3 / timed(lambda: a @ a) / 1e9 for _ in range(6))


def timed(work: Callable[[], Any]) -> float:
    """Seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def torch_encoder(vocabulary: Vocabulary, grids: Sequence[tuple[int, int]]) -> Callable[[Images], Fast] | None:
    """The same in PyTorch, whitening and words as convolutions; None where there is no PyTorch.

    A patch that is normalised is `(p - mean) / spread`, both of which are convolutions too; whitening is one with d
    filters on the raw pixels, made right afterwards, and words are one of 1x1 on that.
    """
    try:
        import torch
        from torch.nn.functional import conv2d
    except ImportError:
        return None
    torch.set_num_threads(THREADS)
    preparation, whitening = vocabulary.preparation, vocabulary.whitening
    if preparation.normalize != "patch" or whitening is None:
        raise ValueError("only patches that are normalised by themselves and whitened are done here")
    height, width = preparation.size
    words = torch.from_numpy(vocabulary.words.astype(np.float32))
    k, d = words.shape
    matrix = torch.from_numpy(whitening.matrix.astype(np.float32))
    channels = d // (height * width)

    def filters(rows: Any) -> Any:  # noqa: ANN401 - no torch, no types
        shaped = rows.reshape(len(rows), height, width, channels).permute(0, 3, 1, 2)
        return shaped.contiguous(memory_format=torch.channels_last)

    white, ones = filters(matrix), filters(torch.full((1, d), 1 / d))
    sums = matrix.sum(1)[:, None, None]
    shift = (matrix @ torch.from_numpy(whitening.mean.astype(np.float32)))[:, None, None]
    product, lengths = (-2 * words)[:, :, None, None], (words * words).sum(1)[:, None, None]

    def batch(images: Images) -> Fast:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
        # Around 128, so that variances keep their digits.
        pixels -= 128
        mean = conv2d(pixels, ones, stride=preparation.stride)
        variance = conv2d(pixels * pixels, ones, stride=preparation.stride) - mean * mean
        spread = torch.sqrt(torch.clamp(variance, min=0) + preparation.epsilon)
        z = (conv2d(pixels, white, stride=preparation.stride) - mean * sums) / spread - shift
        squared = conv2d(z, product) + lengths + (z * z).sum(1, keepdim=True)
        distances = squared.clamp_(min=0).sqrt_()
        added = torch.relu_(distances.mean(1, keepdim=True) - distances)
        where = torch.from_numpy(reference.cells(*added.shape[2:], grids).astype(np.float32))
        pooled = where @ added.permute(0, 2, 3, 1).reshape(len(images), -1, k)
        return pooled.reshape(len(images), -1).numpy()

    def count(images: Images) -> Fast:
        with torch.inference_mode():
            return np.concatenate([batch(images[start : start + 8]) for start in range(0, len(images), 8)])

    return count


def sklearn_encoder(encoder: FastEncoder) -> Callable[[Images], Fast]:
    """The same as people write it: patches in NumPy, distances to all words by scikit-learn, a few images at a time."""
    words = encoder.vocabulary.words.astype(np.float32)
    d = words.shape[1]

    def batch(images: Images) -> Fast:
        patches, shape = encoder.prepared(images)
        # What KMeans.transform calls.
        distances = euclidean_distances(patches[:, :d], words)
        added = np.maximum(distances.mean(1, keepdims=True) - distances, 0)
        where = reference.cells(*shape, encoder.pooling).astype(np.float32)
        return (where @ added.reshape(len(images), -1, len(words))).reshape(len(images), -1)

    def count(images: Images) -> Fast:
        with threadpool_limits(THREADS):
            return np.concatenate([batch(images[start : start + 8]) for start in range(0, len(images), 8)])

    return count


def speed(_options: argparse.Namespace) -> list[Goal]:
    """The table of speeds: triangles of CIFAR-10, featurizing alone."""
    data = cifar_data()
    if data is None:
        return []
    out = OUT / "speed"
    job = recipe("cifar10-triangle", data, vocabulary={"k": SPEED_WORDS, "max_iter": 3, "n_init": 1})
    job["sample"] = {"every": 10, "per_image": 20}
    words = run(job, data.shards("train")[:1], out / "words").vocabulary_file
    vocabulary = load(words, job["patches"].get("stride", 1))
    grids = grids_of(job["features"]["pooling"])
    images = data.images("test", SPEED_IMAGES)
    encoder = FastEncoder(vocabulary, "triangle", grids)
    by_torch = torch_encoder(vocabulary, grids)
    if by_torch and not np.allclose(by_torch(images[:8]), encoder(images[:8]), rtol=1e-2, atol=1e-2):
        raise SystemExit("PyTorch's vectors are others than NumPy's")

    by_sklearn = sklearn_encoder(encoder)
    if not np.allclose(by_sklearn(images[:8]), encoder(images[:8]), rtol=1e-2, atol=1e-2):
        raise SystemExit("scikit-learn's vectors are others than NumPy's")

    ours, theirs, plain, torches = [], [], [], []
    n_images = len(data.labels("test"))
    for _ in range(ROUNDS):
        done = run(job, data.shards("test"), out / "run", words)
        ours.append(n_images / done.manifest["run"]["featurize_seconds"])
        theirs.append(len(images) / timed(lambda: encoder(images)))
        plain.append(len(images) / timed(lambda: by_sklearn(images)))
        if by_torch:
            torches.append(len(images) / timed(lambda: by_torch(images)))
    top = peak()
    k, d = vocabulary.words.shape
    positions = done.manifest["counts"]["patches"] / n_images
    work = 2 * positions * d * (k + (d if vocabulary.whitening else 0)) / 1e9

    print(f"\nspeed: triangle, k = {k}, patches of {d} values, CIFAR-10, {THREADS} threads, median of {ROUNDS}")
    print(f"sgemm of NumPy: {top:.0f} GFLOP/s; an image takes {work:.3f} GFLOP of products")
    print(f"{'by':44}  {'images/s':>9}  {'of sgemm':>9}  {'bovw is':>8}")
    fast = median(ours)
    rows = (
        ("bovw, shards to files", ours),
        ("NumPy and scikit-learn, pixels to vectors", plain),
        ("NumPy alone, in blocks that fit the cache", theirs),
        ("PyTorch", torches),
    )
    for what, speeds in rows:
        if speeds:
            value = median(speeds)
            print(f"{what:44}  {value:9.1f}  {100 * value * work / top:8.1f}%  {fast / value:7.2f}x")
    if not torches:
        print(f"{'PyTorch':44}  skipped: it is not installed; scripts/venv torch does that")
    goals = [Goal("speed, times NumPy and scikit-learn", fast / median(plain), 5, 10)]
    if torches:
        goals.append(Goal("speed, times PyTorch", fast / median(torches), 2, 4))
    return goals


MAKERS: dict[str, Callable[[argparse.Namespace], list[Goal]]] = {
    "exact": exact,
    "purity": clustered,
    "linear": linear,
    "cifar": cifar,
    "speed": speed,
}


def main() -> int:
    """Makes the tables that are asked for."""
    parser = argparse.ArgumentParser(prog="scripts/quality", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="exact, purity and linear on a part of the data")
    parser.add_argument("--no-build", action="store_true", help="take the release binary that is there")
    parser.add_argument(
        "--exact-images", type=int, metavar="N", help="images for the table exact (default: 600, or 150)"
    )
    parser.add_argument("--words", type=int, nargs="+", default=[400, 1600], metavar="K", help="k for the table cifar")
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="seeds that the table cifar is the mean of (default: 1)"
    )
    options = parser.parse_args()
    if unknown := set(options.tables) - set(TABLES):
        parser.error(f"no such table: {', '.join(sorted(unknown))}")
    tables = options.tables or (TABLES[:3] if options.quick else TABLES)

    if not options.no_build:
        mnist.build()
    if not BOVW.exists():
        print(f"{BOVW} is not there; cargo build --release makes it", file=sys.stderr)
        return 1
    shutil.rmtree(OUT, ignore_errors=True)
    started = time.perf_counter()
    goals = [goal for table in TABLES if table in tables for goal in MAKERS[table](options)]
    print(f"\n{'goal':58}  {'measured':>9}  {'asked':>9}  {'aim':>9}")
    for goal in goals:
        print(goal)
    print(f"{time.perf_counter() - started:.0f} seconds")
    return 0 if all(goal.is_met for goal in goals) else 1


if __name__ == "__main__":
    sys.exit(main())
