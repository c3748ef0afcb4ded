"""Runs one job in a container of little memory and without a limit, on data many times that memory, and compares.

The container is a control group of 128 MiB (version 1 or 2, for which this must be root), the data 20 times that: raw
digits, out of the page cache before every run. With --quick 64 MiB and 4 times that, for CI. The job does not set
run.memory, so it takes its share of the container; it samples one image in a hundred. Fails where the run does not
finish there, or gives other bytes; times are told. About 3 GB of disk, removed afterwards.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from synth_run import (
    MIB,
    REPOSITORY,
    Asked,
    binary,
    data_bytes,
    drop_cache,
    output_hashes,
    print_asked,
    print_table,
    run,
    synth,
)

CGROUPS = Path("/sys/fs/cgroup")
IMAGE_BYTES = 28 * 28
TIME_RATIO = 1.5
TIME_RATIO_AIM = 1.15


@dataclass(frozen=True)
class Container:
    """A control group with a memory limit."""

    path: Path
    limit: str
    peak: str

    def within(self) -> list[str]:
        """A command that runs what follows it in here."""
        return ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.path)]

    def peak_bytes(self) -> int:
        """The most memory that it took, cached pages of files among it; 0 where the system does not say."""
        file = self.path / self.peak
        return int(file.read_text()) if file.is_file() else 0


def possible() -> Container | None:
    """Where a container could be made on this machine."""
    if os.geteuid() != 0:
        return None
    name = f"bovw-check-{os.getpid()}"
    if (CGROUPS / "memory" / "memory.limit_in_bytes").is_file():
        return Container(CGROUPS / "memory" / name, "memory.limit_in_bytes", "memory.max_usage_in_bytes")
    controllers = CGROUPS / "cgroup.subtree_control"
    if controllers.is_file() and "memory" in controllers.read_text().split():
        return Container(CGROUPS / name, "memory.max", "memory.peak")
    return None


@contextmanager
def container(place: Container, limit_bytes: int) -> Iterator[Container]:
    """Makes a container, and removes it."""
    place.path.mkdir()
    try:
        (place.path / place.limit).write_text(str(limit_bytes))
        # Without swap, where the system has some: it would hide what does not fit.
        for swap in ("memory.memsw.limit_in_bytes", "memory.swap.max"):
            with suppress(OSError):
                file = place.path / swap
                if file.is_file():
                    file.write_text("0" if swap == "memory.swap.max" else str(limit_bytes))
        yield place
    finally:
        place.path.rmdir()


def measure(bovw: Path, scene: Path, place: Container, limit_bytes: int, sets: list[str], repeats: int) -> int:
    """Runs both, in turns; the exit status."""
    free, limited, peaks = [], [], []
    for _ in range(repeats):
        drop_cache(scene)
        free.append(run(bovw, scene, sets))
        expected = output_hashes(scene) if free[-1]["event"] == "done" else {}
        drop_cache(scene)
        with container(place, limit_bytes) as made:
            limited.append(run(bovw, scene, sets, made.within()))
            peaks.append(made.peak_bytes())
        if failed := [event for event in (free[-1], limited[-1]) if event["event"] != "done"]:
            print(f"failed with status {failed[0]['status']}: {failed[0]['message']}")
            return print_asked([Asked("the run ends in the container", "yes", "yes", "no", False, True)])
        found = output_hashes(scene)
    rows = [row("without a limit", free, 0), row(f"in {limit_bytes // MIB} MiB", limited, max(peaks))]
    print()
    print_table(
        ["", "seconds", "learning", "featurizing", "heap MiB", "anonymous MiB", "with mapped MiB", "container MiB"],
        rows,
    )
    ratio = seconds(limited) / seconds(free)
    return print_asked(
        [
            Asked("the run ends in the container", "yes", "yes", "yes", True, True),
            Asked("the same bytes", "yes", "yes", "yes" if found == expected else "no", found == expected, True),
            Asked(
                "time, times that without a limit",
                f"{TIME_RATIO}",
                f"{TIME_RATIO_AIM}",
                f"{ratio:.2f}",
                ratio <= TIME_RATIO,
                False,
            ),
        ]
    )


def seconds(events: list[dict[str, Any]], key: str = "seconds") -> float:
    """The middle time of some runs."""
    return median(event["run"][key] for event in events)


def row(name: str, events: list[dict[str, Any]], container_bytes: int) -> list[str]:
    """For the table."""
    times = [seconds(events, key) for key in ("seconds", "learn_seconds", "featurize_seconds")]
    kinds = ("heap", "anonymous", "resident")
    memory = [max(event["memory"][f"peak_{kind}_bytes"] for event in events) for kind in kinds]
    cells = [f"{one / MIB:.1f}" if one else "" for one in (*memory, container_bytes)]
    return [name, *(f"{one:.2f}" for one in times), *cells]


def main() -> int:
    """Makes the data, runs, prints, judges."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="64 MiB and 4 times that only")
    parser.add_argument("--bovw", type=Path, help="this binary, instead of the release build")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each (default %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of the job; repeatable")
    parser.add_argument("--dir", type=Path, default=REPOSITORY / "out", help="where data is made (default %(default)s)")
    args = parser.parse_args()
    place = possible()
    if place is None:
        print("skipped: it needs root, and control groups for memory")
        return 0
    bovw = args.bovw.resolve() if args.bovw else binary()
    limit_bytes, times = (64 * MIB, 4) if args.quick else (128 * MIB, 20)
    args.dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="check-container-", dir=args.dir) as folder:
        scene = Path(folder) / "scene"
        synth(bovw, scene, times * limit_bytes // IMAGE_BYTES, ["--encoding", "raw", "--shard-images", "20000"])
        print(f"{data_bytes(scene) / MIB:.0f} MiB of images, {limit_bytes // MIB} MiB of memory", flush=True)
        try:
            sets = ["sample.every=100", *args.set]
            return measure(bovw, scene, place, limit_bytes, sets, args.repeats)
        finally:
            shutil.rmtree(scene, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
