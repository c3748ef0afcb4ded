"""Measures `bovw` against what people use in Python, on MNIST, and prints tables of medians and ratios.

All run in one sitting, in turn, on the same images, words and patches, with two threads, float32 and chunks that suit
them; each featurizing rival is tried with several sizes of chunk, with its own threads and with a thread a chunk, and
keeps what is fastest. Who counts other words than bovw is not compared. The machine's fp32 peak stands beside them.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_limits

import mnist
from compare_kmeans import SEED, Sample
from patches import Decoder, images_in
from peers import CHUNKS, THREADS
from run_dir import REPOSITORY, RunDir

SCRIPTS = REPOSITORY / "scripts"
RELEASE = REPOSITORY / "target" / "release"
PARTS = ("featurize-50", "featurize-200", "featurize-1600", "learn", "lloyd", "job")
PATCHES = 529
DIMENSIONS = 36
ROUNDS = 5
IMAGES = {50: 20_000, 200: 8_000, 1600: 2_000}
"""Images that rivals count, by k: seconds, not minutes, for the slow ones."""
TUNING_IMAGES = {50: 1_024, 200: 512, 1600: 128}
NOTEBOOK_IMAGES = 300
TOLERATED_SHARE = 1e-4
"""Patches that float32 may give to another word where two are all but equally near."""
BUSY = 0.05
"""Share of the machine that others may use before the figures are called in doubt."""

POOL = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# The old OpenBLAS in faiss's wheel does not know every processor; its users name one that it does.
FAISS_CORES = ({}, {"OPENBLAS_CORETYPE": "Haswell"}, {"OPENBLAS_CORETYPE": "SkylakeX"})
VARIANTS: dict[str, tuple[dict[str, str], ...]] = {
    "notebook": (POOL,),
    "sklearn": ({}, POOL),
    "sklearnex": ({}, POOL),
    "faiss": tuple(threads | core for threads, core in itertools.product(({}, POOL), FAISS_CORES)),
    "torch_matmul": ({}, POOL),
    "torch_conv": ({}, POOL),
}
TITLES = {
    "notebook": "the notebook's loop (cdist, argsort), one thread",
    "sklearn": "scikit-learn, MiniBatchKMeans.predict",
    "sklearnex": "scikit-learn-intelex, KMeans.predict",
    "faiss": "faiss, IndexFlatL2.search",
    "torch_matmul": "PyTorch, addmm + argmax",
    "torch_conv": "PyTorch, conv2d + argmax",
}


@dataclass(frozen=True)
class Goal:
    """A line of the table of goals."""

    what: str
    against: str
    measured: str
    at_least: str
    aim: str


@dataclass
class Bench:
    """What all parts share."""

    shards: list[Path]
    work: Path
    quick: bool
    rivals: list[str]
    goals: list[Goal] = field(default_factory=list)
    busy: list[tuple[str, float]] = field(default_factory=list)
    failed: bool = False

    @property
    def rounds(self) -> int:
        """How often each is measured."""
        return 3 if self.quick else ROUNDS

    def images(self) -> tuple[Path, Path]:
        """The training images, decoded once: for bovw as IDX, for the rivals as an array."""
        idx, array = self.work / "images.idx", self.work / "images.npy"
        if not array.exists():
            values = itertools.chain.from_iterable(itertools.chain.from_iterable(map(images_in, self.shards)))
            pixels = np.stack([Decoder()(value) for value in itertools.islice(values, max(IMAGES.values()))])
            header = np.array([0x803, *pixels.shape], ">u4").tobytes()
            idx.write_bytes(header + pixels.tobytes())
            np.save(array, pixels)
        return idx, array

    def vocabulary(self, k: int) -> Path:
        """Words that bovw learned."""
        run = mnist.learned(self.shards, self.work / f"words-{k}", k)
        np.save(run.path / "words.npy", run.words().astype(np.float32))
        return run.path

    def run(self, out: Path, **sets: str | int) -> dict[str, float]:
        """Runs it, and gives when each event came, in seconds since the start of the process."""
        started = time.perf_counter()
        at: dict[str, float] = {}
        with subprocess.Popen(mnist.command(self.shards, out, **sets), stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                at.setdefault(json.loads(line)["event"], time.perf_counter() - started)
        if process.returncode:
            raise SystemExit(f"bovw ended with {process.returncode}")
        return at


class Rival:
    """A process that counts words: one rival in one variant."""

    def __init__(self, name: str, variant: dict[str, str], images: Path) -> None:
        """Starts it."""
        self.name, self.variant = name, variant
        command = [sys.executable, str(SCRIPTS / "peers.py"), name, str(images)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=os.environ | variant)

    def ask(self, **command: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever JSON holds
        """Has it do something."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline() or '{"error": "ended"}')

    def close(self) -> None:
        """Ends it."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def how(self, chunk: int) -> str:
        """Its variant in words."""
        threads = "a thread a chunk" if "OMP_NUM_THREADS" in self.variant else "its own threads"
        core = self.variant.get("OPENBLAS_CORETYPE")
        return f"{threads}, chunks of {chunk}" + (f", OpenBLAS for {core}" if core else "")


def tuned(bench: Bench, name: str, words: Path, k: int) -> tuple[Rival, dict[str, Any]] | None:
    """The fastest variant of a rival with its best chunk; None where it cannot be had."""
    best: tuple[Rival, dict[str, Any]] | None = None
    chunks = [1] if name == "notebook" else list(CHUNKS[1:4] if bench.quick else CHUNKS)
    first = 16 if name == "notebook" else TUNING_IMAGES[k]
    for variant in VARIANTS[name]:
        rival = Rival(name, variant, bench.images()[1])
        found = rival.ask(do="tune", words=str(words / "words.npy"), first=first, chunks=chunks)
        if "error" in found:
            print(f"{TITLES[name]} left out ({rival.how(0)}): {found['error']}", file=sys.stderr)
        if "error" in found or (best and best[1]["images_a_second"] >= found["images_a_second"]):
            rival.close()
            continue
        if best:
            best[0].close()
        best = rival, found
    return best


def search(words: Path, idx: Path, images: int, counts: Path | None = None, simd: str | None = None) -> dict[str, Any]:
    """bovw's search over decoded images."""
    command = [str(RELEASE / "examples" / "bench_featurize"), str(words / "vocabulary.parquet"), str(idx)]
    command += ["--threads", str(THREADS), "--first", str(images), "--repeat", "4"]
    command += ["--counts", str(counts)] if counts else []
    command += ["--simd", simd] if simd else []
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def peak(simd: str | None = None) -> float:
    """The machine's fp32 peak with all threads, in GFLOP/s."""
    command = [str(RELEASE / "examples" / "bench_featurize"), "--peak", "--threads", str(THREADS)]
    command += ["--simd", simd] if simd else []
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["gflops"]


def featurize(bench: Bench, k: int) -> None:
    """Counts of words from decoded pixels."""
    words, idx = bench.vocabulary(k), bench.images()[0]
    images = IMAGES[k] // (4 if bench.quick else 1)
    found = search(words, idx, images, bench.work / "counts.u32")
    expected = np.fromfile(bench.work / "counts.u32", np.uint32).reshape(images, k)
    with_avx2 = k == 50 and found["simd"] in ("avx512", "vnni")

    rivals = [
        (name, t) for name in bench.rivals if (name != "notebook" or k == 50) and (t := tuned(bench, name, words, k))
    ]
    rates: dict[str, list[float]] = defaultdict(list)
    peaks: dict[str, float] = defaultdict(float)
    with Watch(bench, f"featurize, k = {k}"):
        for _ in range(bench.rounds):
            for title, simd in [("bovw", None)] + ([("bovw, avx2", "avx2")] if with_avx2 else []):
                ours = search(words, idx, images, simd=simd)
                rates[title].append(ours["patches"] / median(ours["seconds"][1:]) / 1e6)
                peaks[title] = max(peaks[title], peak(simd))
            for name, (rival, _) in rivals:
                n = NOTEBOOK_IMAGES if name == "notebook" else images
                rates[name].append(n * PATCHES / rival.ask(do="run", first=n)["seconds"] / 1e6)

    ours = median(rates["bovw"])
    again = found["decided_again"] / found["patches"]
    print(f"\n### Featurize, k = {k}, {images:,} images ({images * PATCHES / 1e6:.1f} million patches)\n")
    table = [("bovw", f"{found['simd']}, {again:.3%} decided again", f"{ours:.2f}", "1.0", "")]
    if with_avx2:
        table.append(
            ("bovw", "avx2", f"{median(rates['bovw, avx2']):.2f}", f"{ours / median(rates['bovw, avx2']):.1f}", "")
        )
    best = 0.0
    for name, (rival, tuning) in rivals:
        n = NOTEBOOK_IMAGES if name == "notebook" else images
        rival.ask(do="run", first=n, save=str(bench.work / "counts.npy"))
        rival.close()
        differing = int(np.abs(np.load(bench.work / "counts.npy") - expected[:n].astype(np.int64)).sum()) // 2
        rate = median(rates[name])
        note = f"{differing:,} of {n * PATCHES:,}"
        if differing > TOLERATED_SHARE * n * PATCHES:
            bench.failed = True
            table.append((TITLES[name], rival.how(tuning["chunk"]), "wrong", "-", note))
            continue
        best = max(best, rate)
        how = f"{n} images, extrapolated" if name == "notebook" else rival.how(tuning["chunk"])
        table.append((TITLES[name], how, f"{rate:.2f}", f"{ours / rate:.1f}", note))
    print_table(("system", "how", "million patches/s", "bovw is times as fast", "patches with another word"), table)

    def gflops(rate: float) -> float:
        return 2 * k * DIMENSIONS * rate / 1e3

    at_least, aim = {50: ("10", "16"), 200: ("7", "10"), 1600: ("3", "5")}[k]
    if best:
        what = f"featurize k = {k} (from decoded pixels)"
        bench.goals.append(Goal(what, "best of the Python systems", f"{ours / best:.1f}x", f"{at_least}x", f"{aim}x"))
    lines = [f"\nfp32 peak {peaks['bovw']:.0f} GFLOP/s; bovw as if by fp32 {gflops(ours):.0f}"]
    against = f"fp32 FMA peak, {peaks['bovw']:.0f} GFLOP/s"
    if k == 50:
        bench.goals.append(Goal("featurize k = 50", against, f"{gflops(ours) / peaks['bovw']:.2f}x", "1.2x", "2x"))
    if with_avx2:
        own, avx2 = peaks["bovw, avx2"], gflops(median(rates["bovw, avx2"]))
        lines.append(f"with AVX2 alone: peak {own:.0f} GFLOP/s; bovw as if by fp32 {avx2:.0f}")
        measured = f"{avx2 / peaks['bovw']:.2f}x ({avx2 / own:.2f}x of AVX2's own {own:.0f})"
        bench.goals.append(Goal("AVX2 path, k = 50", against, measured, "0.6x", "0.8x"))
    print("\n".join(lines), flush=True)


@dataclass
class Fits:
    """What several fits of one learner gave."""

    seconds: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    words: NDArray[np.float64] | None = None


def bovw_fit(bench: Bench, out: Path, every: int, algorithm: str, fits: Fits) -> None:
    """One run of bovw's learning pass."""
    at = bench.run(
        out, algorithm=f'"{algorithm}"', n_init=3, max_iter=300, **{"sample.every": every, "run.threads": THREADS}
    )
    fits.seconds.append(at["vocabulary"] - at["sampled"])
    fits.whole.append(at["vocabulary"])
    fits.words = RunDir(out).words()


def sklearn_fit(matrix: NDArray[np.float32], estimator: KMeans | MiniBatchKMeans, fits: Fits) -> None:
    """One fit of scikit-learn's."""
    started = time.perf_counter()
    estimator.fit(matrix)
    fits.seconds.append(time.perf_counter() - started)
    fits.words = estimator.cluster_centers_.astype(np.float64)


def faiss_fit(bench: Bench, matrix: NDArray[np.float32], fits: Fits) -> None:
    """One training of faiss's, in a process of its own for the sake of its OpenBLAS."""
    saved, words = bench.work / "matrix.npy", bench.work / "faiss.npy"
    np.save(saved, matrix)
    core = "SkylakeX" if "avx512bw" in Path("/proc/cpuinfo").read_text() else "Haswell"
    rival = Rival("faiss", {"OPENBLAS_CORETYPE": core}, saved)
    fits.seconds.append(rival.ask(do="train", k=50, seed=SEED, save=str(words))["seconds"])
    rival.close()
    fits.words = np.load(words).astype(np.float64)


def compare_fits(
    bench: Bench, title: str, sample: Sample, turns: list[tuple[str, int, Callable[[Fits], None]]]
) -> dict[str, tuple[float, float]]:
    """Runs learners in turn, prints a table, and gives seconds and inertia a patch of each."""
    fits: dict[str, Fits] = {name: Fits() for name, _, _ in turns}
    with Watch(bench, title):
        for number in range(max(rounds for _, rounds, _ in turns)):
            for name, rounds, fit in turns:
                if number < rounds:
                    fit(fits[name])
    results: dict[str, tuple[float, float]] = {}
    table = []
    for name, one in fits.items():
        assert one.words is not None
        inertia, _ = sample.measure(one.words)
        results[name] = median(one.seconds), inertia
        whole = f"{median(one.whole):.2f}" if one.whole else ""
        table.append((name, f"{median(one.seconds):.2f}", whole, f"{inertia:.4f}", str(len(one.seconds))))
    print(f"\n### {title}\n")
    print_table(("learner", "k-means s", "process start to vocabulary s", "inertia/patch", "runs"), table)
    sys.stdout.flush()
    return results


def learn(bench: Bench) -> None:
    """50 words from the patches of every tenth image."""
    every = 100 if bench.quick else 10
    sample = Sample(bench.shards, every)
    matrix = sample.matrix
    out = bench.work / "learn"

    def mini_batch(batch_size: int, threads: int = THREADS) -> Callable[[Fits], None]:
        def fit(fits: Fits) -> None:
            # Batches are small, and one thread may be faster than two that wait for each other.
            with threadpool_limits(threads):
                sklearn_fit(matrix, estimator, fits)

        estimator = MiniBatchKMeans(50, n_init=3, max_iter=300, batch_size=batch_size, random_state=SEED)
        return fit

    turns = [
        ("bovw mini-batch, n_init 3", bench.rounds, lambda fits: bovw_fit(bench, out, every, "mini-batch", fits)),
        ("bovw lloyd, n_init 3", 1, lambda fits: bovw_fit(bench, out, every, "lloyd", fits)),
        ("MiniBatchKMeans 4096, n_init 3", 3, mini_batch(4096)),
        ("MiniBatchKMeans 4096, n_init 3, one thread", 3, mini_batch(4096, 1)),
        ("MiniBatchKMeans 1024, n_init 3", 1, mini_batch(1024)),
    ]
    results = compare_fits(bench, f"Learn k = 50 from {len(matrix):,} patches", sample, turns)
    ours, lloyd, *large, small = results.values()
    large = min(large)
    measured = f"{large[0] / ours[0]:.0f}x ({small[0] / ours[0]:.0f}x batch 1024); inertia against lloyd's "
    measured += f"{ours[1] / lloyd[1] - 1:+.2%}, MiniBatchKMeans {large[1] / lloyd[1] - 1:+.2%}"
    what = f"learn k = 50 on {len(matrix):,} patches"
    against = "MiniBatchKMeans (batch 4096, n_init 3), within 0.5 % of lloyd"
    bench.goals.append(Goal(what, against, measured, "30x", "100x"))


def lloyd(bench: Bench) -> None:
    """50 words by full passes."""
    every = 600 if bench.quick else 60
    sample = Sample(bench.shards, every)
    matrix = sample.matrix
    out = bench.work / "lloyd"
    estimator = KMeans(50, n_init=3, max_iter=300, random_state=SEED)
    turns = [
        ("bovw lloyd, n_init 3", bench.rounds, lambda fits: bovw_fit(bench, out, every, "lloyd", fits)),
        ("scikit-learn KMeans, n_init 3", 3, lambda fits: sklearn_fit(matrix, estimator, fits)),
        ("scikit-learn-intelex KMeans, n_init 3", 3, lambda fits: sklearn_fit(matrix, intel_kmeans(), fits)),
        ("faiss Kmeans, niter 25, nredo 3", 3, lambda fits: faiss_fit(bench, matrix, fits)),
    ]
    results = compare_fits(bench, f"Learn k = 50 by lloyd from {len(matrix):,} patches", sample, turns)
    ours, theirs, *_ = results.values()
    measured = f"{theirs[0] / ours[0]:.1f}x; inertia {ours[1] / theirs[1] - 1:+.2%}"
    what = f'learn, "lloyd" n_init 3 on {len(matrix):,} patches'
    against = "KMeans (n_init 3, max_iter 300), inertia within 0.1 %"
    bench.goals.append(Goal(what, against, measured, "15x", "30x"))


def intel_kmeans() -> KMeans:
    """scikit-learn-intelex's KMeans."""
    from sklearnex.cluster import KMeans as IntelKMeans

    return IntelKMeans(50, n_init=3, max_iter=300, random_state=SEED)


# A small parent: what the kernel gives as a child's peak is at least what its parent had when it was started.
LAUNCHER = """
import json, os, sys, time
started = time.perf_counter()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(json.dumps([time.perf_counter() - started, os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024]))
"""


def launched(command: list[str]) -> tuple[float, int, dict[str, Any]]:
    """Seconds and peak resident bytes of a process from its start to its end, and the last line it printed."""
    output = subprocess.run([sys.executable, "-S", "-c", LAUNCHER, *command], check=True, capture_output=True).stdout
    *said, last = output.splitlines()
    seconds, status, peak_bytes = json.loads(last)
    if status:
        raise SystemExit(f"{command[0]} ended with {status}")
    return seconds, peak_bytes, json.loads(said[-1])


def job(bench: Bench) -> None:
    """The whole job, process start included."""
    shards = bench.shards[: 1 if bench.quick else None]
    commands = {
        "bovw, 2 threads": mnist.command(shards, bench.work / "job", **{"run.threads": 2}),
        "bovw, 1 thread": mnist.command(shards, bench.work / "job", **{"run.threads": 1}),
        "Python": [sys.executable, str(SCRIPTS / "peer_job.py"), str(bench.work / "peer"), *map(str, shards)],
    }
    results: dict[str, list[tuple[float, int, dict[str, Any]]]] = defaultdict(list)
    with Watch(bench, "the whole job"):
        for number in range(bench.rounds):
            for name, command in commands.items():
                if name != "Python" or number < 3:
                    results[name].append(launched(command))
    print(f"\n### The whole job, {len(shards)} shards of PNG images to Parquet, k = 50\n")
    table = []
    for name, runs in results.items():
        said = sorted(runs, key=lambda run: run[0])[len(runs) // 2][2]
        detail = said.get("run") or said
        steps = ", ".join(f"{key.removesuffix('_seconds')} {detail[key]:.2f}" for key in steps_of(detail))
        heap = said.get("memory", {}).get("peak_anonymous_bytes")
        heap_text = f"{heap / 1e6:.1f}" if heap else ""
        seconds = median(seconds for seconds, _, _ in runs)
        table.append(
            (
                name,
                f"{seconds:.2f}",
                steps,
                f"{median(peak for _, peak, _ in runs) / 1e6:.1f}",
                heap_text,
                str(len(runs)),
            )
        )
    columns = ("system", "seconds", "of these", "peak resident MB (largest process)", "peak heap MB", "runs")
    print_table(columns, table)
    two, one, python = (median(run[0] for run in results[name]) for name in commands)
    heap = max(run[2]["memory"]["peak_anonymous_bytes"] for run in results["bovw, 2 threads"])
    resident = median(run[1] for run in results["Python"])
    what = "the whole job from PNG shards to Parquet, process start included"
    bench.goals.append(Goal(what, "the tuned Python job", f"{python / two:.1f}x", "15x", "25x"))
    bench.goals.append(Goal("two threads against one, whole job", "itself", f"{one / two:.2f}x", "1.8x", "1.95x"))
    measured = f"1/{resident / heap:.1f} ({heap / 1e6:.0f} MB)"
    bench.goals.append(
        Goal("peak heap, whole job, k = 50", f"the Python job's {resident / 1e6:.0f} MB", measured, "1/10", "1/15")
    )


def steps_of(detail: dict[str, Any]) -> list[str]:
    """The keys that hold the time of a step."""
    return [key for key in detail if key in ("sample", "learn", "featurize", "learn_seconds", "featurize_seconds")]


class Watch:
    """Says how much of the machine others used meanwhile: figures of a busy machine are worth little."""

    def __init__(self, bench: Bench, title: str) -> None:
        """For a part of the benchmark."""
        self.bench, self.title = bench, title

    def __enter__(self) -> None:
        """Starts."""
        self.before = self._ticks()

    def __exit__(self, *_: object) -> None:
        """Ends, and notes the share."""
        busy, total, own = (after - before for after, before in zip(self._ticks(), self.before, strict=True))
        share = max(0.0, busy - own) / max(total, 1e-9)
        self.bench.busy.append((self.title, share))

    def _ticks(self) -> tuple[float, float, float]:
        """Busy and all time of the cores, and that of this process and its children, in seconds."""
        fields = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        hertz = os.sysconf("SC_CLK_TCK")
        idle = fields[3] + fields[4]
        own = os.times()
        running = sum(map(process_seconds, children()))
        return (sum(fields) - idle) / hertz, sum(fields) / hertz, sum(own[:4]) + running


def children() -> Iterable[int]:
    """Processes that this one started and that still run."""
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return map(int, text.split())


def process_seconds(pid: int) -> float:
    """Processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def print_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A Markdown table."""
    for cells in (header, ("---",) * len(header), *rows):
        print("| " + " | ".join(cells) + " |")


def processor() -> str:
    """What runs all this."""
    names = [
        line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{names[0] if names else 'unknown'}, {os.cpu_count()} cores"


def main() -> int:
    """Runs the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="scripts/bench_peers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer images and rounds: to see that it works")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    parser.add_argument(
        "--rivals", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="for featurize; default: all"
    )
    parser.add_argument("--mnist", type=Path, metavar="DIR", help="folder of train-*.parquet (default: found)")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep words and decoded images there for the next time"
    )
    options = parser.parse_args()

    shards = mnist.find_shards(options.mnist)
    if not shards:
        print("skipped: no MNIST; scripts/fetch_mnist gets it")
        return 0
    mnist.build("--example", "bench_featurize")
    with tempfile.TemporaryDirectory(prefix="bovw-bench-") as temporary:
        work = options.keep or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        bench = Bench(shards, work.resolve(), options.quick, options.rivals)
        print(f"{processor()}, {THREADS} threads, MNIST training images, 6x6 patches")
        for part in options.parts:
            if part.startswith("featurize"):
                featurize(bench, int(part.rpartition("-")[2]))
            else:
                {"learn": learn, "lloyd": lloyd, "job": job}[part](bench)
    print("\n### Goals\n")
    goals = [(goal.what, goal.against, goal.measured, goal.at_least, goal.aim) for goal in bench.goals]
    print_table(("what", "against", "measured", "at least", "aim"), goals)
    for title, share in bench.busy:
        doubt = "; in doubt" if share > BUSY else ""
        print(f"\n{title}: others used {share:.0%} of the machine{doubt}")
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
