"""Measures bovw.spark and bovw.ray beside `bovw run`: images a second on the same cores, and workers' memory over time.

The same words, the same images, two workers of one core each against two threads. Engines are started beforehand, and
what is measured is a warm run: all of it was run a few times before. A round measures
all of them, one after the other, since whoever else uses the machine makes the next round slower; shares are taken
within a round, and their median is told. Processor time is of all processes that an engine has, over that time.

- `bovw run`: the featurizing of a run, files written.
- `mapInArrow`: Spark reads Parquet in the JVM, Python workers make vectors, the JVM takes them in and drops them.
- `map_batches`: images are in Ray's object store, tasks make vectors of them, which are put there.
- tasks: the featurizing of `bovw.spark.run` and `bovw.ray.run`, files written.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bovw
import bovw.ray
import bovw.spark
import ray
import ray.data
from bovw import tasks
from pyspark.sql import DataFrame, SparkSession
from ray.cluster_utils import Cluster

from mnist import find_shards
from synth_run import JOB, MIB, REPOSITORY, Asked, binary, print_asked, print_table, synth

CORES = 2
COPIES = 10
# Until the JVM has compiled what it runs.
WARM_UPS = 4
LEAST_SHARE = 0.7
SHARE_AIM = 0.9
# What a worker may have more of in the end than after a third of the time.
GROWTH_MIB = 16
GROWTH_AIM_MIB = 4
MARK = "BOVW_CHECK_ENGINES"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Took:
    """What one measurement took."""

    seconds: float
    cpu_seconds: float


@dataclass
class Scene:
    """A job whose words are learned: images, words, and where runs go."""

    folder: Path
    files: list[str]
    n_images: int
    words: bovw.Vocabulary

    @classmethod
    def of(cls, folder: Path, files: list[Path]) -> "Scene":
        """Learns the words of some shards."""
        (folder / "job.toml").write_text(JOB)
        names = [str(file) for file in files]
        run = bovw.run(folder / "job.toml", set={"input.files": names}, fresh=True)
        run.vocabulary.save(folder / "words.parquet")
        job = [line for line in JOB.splitlines() if line not in ("[sample]", "every = 10", "per_image = 0.75")]
        job[job.index("k = 50")] = 'from = "words.parquet"'
        (folder / "job.toml").write_text("\n".join(job) + "\n")
        return cls(folder, names, run.manifest["counts"]["rows"], run.vocabulary)

    @property
    def job(self) -> Path:
        """The job with finished words."""
        return self.folder / "job.toml"

    def sets(self, out: str) -> dict[str, Any]:
        """What the job is run with."""
        return {"input.files": self.files, "output.dir": str(self.folder / out)}

    def rate(self, took: Took) -> float:
        """Images a second."""
        return self.n_images / took.seconds


class Processes:
    """All processes that descend from this one, known by a variable in their environments."""

    def __init__(self) -> None:
        """Marks what is started from now on."""
        self.mark = f"{MARK}={uuid.uuid4().hex}".encode()
        os.environ[MARK] = self.mark.decode().split("=")[1]

    def each(self) -> Iterator[tuple[int, str]]:
        """Number and command line of each, this one not among them."""
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with suppress(OSError):
                    if self.mark in (folder / "environ").read_bytes():
                        yield int(folder.name), (folder / "cmdline").read_text().replace("\0", " ")

    def cpu_seconds(self) -> float:
        """Of all of them that live, their dead children, and this one."""
        own = os.times()
        total = own.user + own.system
        for pid, _ in self.each():
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                total += sum(map(int, fields[11:15])) / TICKS
        return total

    def worker_mib(self, mark: str) -> float:
        """Memory of its own that the largest process has whose command line has a mark."""
        most = 0
        for pid, line in self.each():
            if mark in line:
                with suppress(OSError):
                    status = Path(f"/proc/{pid}/status").read_text().splitlines()
                    most = max(most, *(int(line.split()[1]) for line in status if line.startswith("RssAnon:")))
        return most / 1024

    def measured(self, work: Callable[[], Any]) -> Took:
        """What some work takes."""
        cpu, start = self.cpu_seconds(), time.monotonic()
        work()
        seconds = time.monotonic() - start
        return Took(seconds, self.cpu_seconds() - cpu)


@contextmanager
def spark_session() -> Iterator[SparkSession]:
    """Two executors with a core each."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    builder = SparkSession.builder.master(f"local-cluster[{CORES},1,1024]")
    settings = {"spark.executor.memory": "1g", "spark.ui.enabled": "false", "spark.log.level": "ERROR"}
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


@contextmanager
def ray_cluster() -> Iterator[None]:
    """Two raylets with a core each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    arguments = {"num_cpus": 1, "object_store_memory": 512 * MIB}
    cluster = Cluster(initialize_head=True, head_node_args={**arguments, "include_dashboard": False})
    for _ in range(CORES - 1):
        cluster.add_node(**arguments)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()
    cluster.shutdown()


def in_object_store(scene: Scene) -> ray.data.Dataset:
    """The images in some blocks for each core."""
    ds = ray.data.read_parquet(scene.files, columns=["image", "label"])
    return ds.repartition(8 * CORES).materialize()


def featurize_in_spark(df: DataFrame, words: bovw.Vocabulary) -> None:
    """Vectors that are made and dropped."""
    bovw.spark.featurize(df, words).write.format("noop").mode("overwrite").save()


def tasks_took(scene: Scene, processes: Processes, out: str, run_tasks: Callable[[int], Any]) -> Took:
    """The featurizing of a job in tasks, from the first to the last; planned before, merged after."""
    sets = scene.sets(out)
    plan = tasks.plan(scene.job, set=sets, fresh=True)
    took = processes.measured(lambda: run_tasks(plan.n_tasks))
    tasks.merge(scene.job, "featurize", set=sets)
    return took


def measures(scene: Scene, processes: Processes, spark: SparkSession) -> dict[str, Callable[[], Took]]:
    """What a round measures, by name; the first is what the others are held against."""
    df = spark.read.parquet(*scene.files).select("image", "label")
    blocks = in_object_store(scene)

    def run() -> Took:
        cpu = processes.cpu_seconds()
        done = bovw.run(scene.job, set=scene.sets("run"), fresh=True, threads=CORES)
        return Took(done.manifest["run"]["featurize_seconds"], processes.cpu_seconds() - cpu)

    def spark_tasks() -> Took:
        task = bovw.spark._task(scene.job, "featurize", scene.sets("spark"), None)
        return tasks_took(scene, processes, "spark", lambda n: bovw.spark._run_tasks(spark, n, task))

    def ray_tasks() -> Took:
        task = bovw.ray._task(scene.job, "featurize", scene.sets("ray"), 1, None)
        return tasks_took(scene, processes, "ray", lambda n: bovw.ray._run_tasks(n, task, 1))

    return {
        "bovw run": run,
        "Spark, mapInArrow": lambda: processes.measured(lambda: featurize_in_spark(df, scene.words)),
        "Ray, map_batches": lambda: processes.measured(bovw.ray.featurize(blocks, scene.words).materialize),
        "Spark, tasks": spark_tasks,
        "Ray, tasks": ray_tasks,
    }


def speeds(name: str, scene: Scene, processes: Processes, spark: SparkSession, rounds: int) -> list[Asked]:
    """Measures all in rounds, prints the table, and gives what was asked."""
    each = measures(scene, processes, spark)
    for _ in range(WARM_UPS):
        for measure in each.values():
            measure()
    took = [{name: measure() for name, measure in each.items()} for _ in range(rounds)]
    base = "bovw run"
    rows, asked = [], []
    for what in each:
        rate = statistics.median(scene.rate(one[what]) for one in took)
        shares = [one[base].seconds / one[what].seconds for one in took]
        cpu = statistics.median(1e6 * one[what].cpu_seconds / scene.n_images for one in took)
        share = statistics.median(shares)
        rows.append([what, f"{rate:,.0f}".replace(",", " "), f"{share:.2f}", f"{cpu:.1f}"])
        if what != base:
            said = f"{name}: {what}, share of bovw run's images a second"
            asked.append(Asked(said, f"{LEAST_SHARE}", f"{SHARE_AIM}", f"{share:.2f}", share >= LEAST_SHARE, False))
    images = f"{scene.n_images:,}".replace(",", " ")
    print(f"\n{name}: {images} images, {CORES} workers of one core, medians of {rounds} rounds\n")
    print_table(["", "images a second", "of bovw run", "CPU us an image"], rows)
    return asked


def copies(shards: list[Path], folder: Path) -> list[Path]:
    """The shards ten times over, so that a measurement lasts seconds."""
    folder.mkdir()
    targets = [folder / f"{at}-{shard.name}" for at in range(COPIES) for shard in shards]
    for shard, target in zip(shards * COPIES, targets, strict=True):
        shutil.copy(shard, target)
    return targets


class Sampler(threading.Thread):
    """Looks at workers' memory ten times a second."""

    def __init__(self, processes: Processes, mark: str) -> None:
        """Of the workers whose command line has a mark."""
        super().__init__(daemon=True)
        self.processes, self.mark = processes, mark
        self.ended = threading.Event()
        self.seen: list[float] = []

    def run(self) -> None:
        """The largest worker at each look."""
        while not self.ended.wait(0.1):
            self.seen.append(self.processes.worker_mib(self.mark))

    def __enter__(self) -> "Sampler":
        """Starts to look."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops looking."""
        self.ended.set()
        self.join()

    def most(self, first: float, end: float) -> float:
        """The most memory between two shares of the time."""
        return max(self.seen[int(first * len(self.seen)) : int(end * len(self.seen))], default=0.0)


def memory(scene: Scene, processes: Processes, spark: SparkSession, times: int) -> list[Asked]:
    """Makes vectors of the images many times over in one go, and looks at the workers."""
    df = spark.read.parquet(*scene.files).select("image")
    for _ in range(times - 1):
        df = df.unionAll(spark.read.parquet(*scene.files).select("image"))
    blocks = in_object_store(scene).select_columns(["image"]).materialize()
    many = blocks.union(*[blocks] * (times - 1))

    def in_spark() -> None:
        featurize_in_spark(df, scene.words)

    def in_ray() -> None:
        for _ in bovw.ray.featurize(many, scene.words).iter_batches(batch_size=None, batch_format="pyarrow"):
            pass

    rows, asked = [], []
    for what, mark, work in (("Spark", "pyspark.daemon", in_spark), ("Ray", "ray::", in_ray)):
        with Sampler(processes, mark) as sampler:
            took = processes.measured(work)
        parts = [sampler.most(at / 3, (at + 1) / 3) for at in range(3)]
        rows.append([what, f"{took.seconds:.0f}", *(f"{part:.1f}" for part in parts)])
        grown = parts[2] - parts[0]
        said = f"{what}: MiB that the largest worker has more in the last third than in the first"
        asked.append(Asked(said, f"{GROWTH_MIB}", f"{GROWTH_AIM_MIB}", f"{grown:+.1f}", grown <= GROWTH_MIB, True))
    images = f"{times * scene.n_images:,}".replace(",", " ")
    print(f"\nmemory of the largest worker, MiB (anonymous), while vectors are made of {images} images\n")
    print_table(["", "seconds", "first third", "second", "last"], rows)
    return asked


def main() -> int:
    """Measures, prints, judges."""
    parser = argparse.ArgumentParser(
        prog="scripts/check_engines --speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=int, default=600_000, help="synthetic images (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--times", type=int, default=10, help="for memory, all images so often (default %(default)s)")
    parser.add_argument("--bovw", type=Path, help="this binary draws the images, instead of the release build")
    parser.add_argument("--dir", type=Path, default=REPOSITORY / "out", help="where data is made (default %(default)s)")
    args = parser.parse_args()
    bovw_binary = args.bovw.resolve() if args.bovw else binary()
    args.dir.mkdir(parents=True, exist_ok=True)
    processes = Processes()
    folder = Path(tempfile.mkdtemp(prefix="check-engines-", dir=args.dir))
    try:
        synth(bovw_binary, folder / "synth", args.images)
        scenes = {"synthetic digits": Scene.of(folder / "synth", sorted((folder / "synth" / "data").iterdir()))}
        if shards := find_shards():
            scenes["MNIST, ten times"] = Scene.of(folder / "mnist", copies(shards, folder / "mnist"))
        asked = []
        with spark_session() as spark, ray_cluster():
            for name, scene in scenes.items():
                asked += speeds(name, scene, processes, spark, args.rounds)
            asked += memory(scenes["synthetic digits"], processes, spark, args.times)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return print_asked(asked)


if __name__ == "__main__":
    sys.exit(main())
