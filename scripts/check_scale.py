"""Runs one job on ever more synthetic images, and says whether memory and time an image stay what they are.

One job: 28x28 PNG digits, 6x6 patches, one image in ten sampled, 50 words, `run.memory` as given. Sizes are 1, 10 and
100 times MNIST (about 3 GB of disk, removed afterwards); with --quick 1 and 5 times, for CI. Fails where memory is not
what is promised; times are told. A run has some work that does not grow with the images, the report above all, so an
image takes less time the more there are; what is asked is that it never takes more.
"""

import argparse
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from synth_run import MIB, REPOSITORY, Asked, binary, print_asked, print_table, run, synth

MNIST = 60_000
SPREAD_MIB = 8
SPREAD_AIM_MIB = 2
MOST_MIB = 128
MOST_AIM_MIB = 64
TIME_SHARE = 0.10
TIME_AIM_SHARE = 0.03


@dataclass(frozen=True)
class Measured:
    """What was measured at one size."""

    n_images: int
    heap_mib: float
    anonymous_mib: float
    resident_mib: float
    seconds: float
    learn_seconds: float
    featurize_seconds: float
    cpu_seconds: float

    @property
    def microseconds(self) -> float:
        """Of the whole run, an image."""
        return 1e6 * self.seconds / self.n_images

    @classmethod
    def of(cls, events: list[dict[str, Any]], n_images: int) -> "Measured":
        """The most heap, and the middle of what the system says, of some runs."""
        memory = [event["memory"] for event in events]
        runs = [event["run"] for event in events]
        # The heap is counted. What else is anonymous is looked at twenty times a second, and one run in ten is caught
        # with ten MiB that the allocator has not given back yet: the most of five runs is not held against one run's.
        return cls(
            n_images,
            max(one["peak_heap_bytes"] for one in memory) / MIB,
            *(median(one[f"peak_{kind}_bytes"] for one in memory) / MIB for kind in ("anonymous", "resident")),
            *(
                median(one[key] for one in runs)
                for key in ("seconds", "learn_seconds", "featurize_seconds", "cpu_seconds")
            ),
        )

    def row(self) -> list[str]:
        """For the table."""
        parts = (self.learn_seconds, self.featurize_seconds, self.cpu_seconds)
        return [
            f"{self.n_images:,}".replace(",", " "),
            f"{self.heap_mib:.1f}",
            f"{self.anonymous_mib:.1f}",
            f"{self.resident_mib:.1f}",
            f"{self.seconds:.2f}",
            f"{self.microseconds:.2f}",
            *(f"{1e6 * seconds / self.n_images:.2f}" for seconds in parts),
        ]


def measure(bovw: Path, scene: Path, n_images: int, sets: list[str], repeats: int) -> Measured:
    """Makes the images, runs the job on them, and removes them."""
    try:
        made = synth(bovw, scene, n_images)
        rate = made["bytes"] / MIB / made["seconds"]
        print(
            f"synth: {n_images} images in {made['seconds']:.1f} s, {n_images / made['seconds']:.0f} images and "
            f"{rate:.0f} MiB a second, heap {made['memory']['peak_heap_bytes'] / MIB:.1f} MiB",
            flush=True,
        )
        events = []
        for _ in range(repeats):
            event = run(bovw, scene, sets)
            if event["event"] != "done":
                sys.exit(f"the run of {n_images} images failed: {event['message']}")
            events.append(event)
    finally:
        shutil.rmtree(scene, ignore_errors=True)
    return Measured.of(events, n_images)


def asked(measured: list[Measured]) -> list[Asked]:
    """What was asked of it."""
    lines = []
    for name, of in (("heap", lambda one: one.heap_mib), ("anonymous memory", lambda one: one.anonymous_mib)):
        values = [of(one) for one in measured]
        spread, most = max(values) - min(values), max(values)
        lines.append(
            Asked(
                f"peak {name}, MiB apart",
                f"{SPREAD_MIB}",
                f"{SPREAD_AIM_MIB}",
                f"{spread:.1f}",
                spread <= SPREAD_MIB,
                True,
            )
        )
        lines.append(
            Asked(f"peak {name}, MiB", f"{MOST_MIB}", f"{MOST_AIM_MIB}", f"{most:.1f}", most <= MOST_MIB, True)
        )
    for name, of in (("time", lambda one: one.seconds), ("processor time", lambda one: one.cpu_seconds)):
        first, *others = [of(one) / one.n_images for one in measured]
        more = max(others) / first - 1
        lines.append(
            Asked(
                f"{name} an image, more than for {MNIST}",
                f"{TIME_SHARE:.0%}",
                f"{TIME_AIM_SHARE:.0%}",
                f"{more:+.1%}",
                more <= TIME_SHARE,
                False,
            )
        )
        if len(others) > 1:
            apart = max(others) / min(others) - 1
            lines.append(
                Asked(
                    f"{name} an image, apart at the larger sizes",
                    f"{TIME_SHARE:.0%}",
                    f"{TIME_AIM_SHARE:.0%}",
                    f"{apart:.1%}",
                    apart <= TIME_SHARE,
                    False,
                )
            )
    return lines


def main() -> int:
    """Measures, prints, judges."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1 and 5 times MNIST only")
    parser.add_argument("--bovw", type=Path, help="this binary, instead of the release build")
    parser.add_argument("--memory", default="32MiB", help="run.memory of the job (default %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of the job; repeatable")
    parser.add_argument("--dir", type=Path, default=REPOSITORY / "out", help="where data is made (default %(default)s)")
    args = parser.parse_args()
    bovw = args.bovw.resolve() if args.bovw else binary()
    args.dir.mkdir(parents=True, exist_ok=True)
    sets = [f'run.memory="{args.memory}"', *args.set]
    times = (1, 5) if args.quick else (1, 10, 100)
    with tempfile.TemporaryDirectory(prefix="check-scale-", dir=args.dir) as folder:
        # Short runs are measured more often, since their times jump about.
        repeats = {1: 5, 5: 3}
        measured = [measure(bovw, Path(folder) / "scene", n * MNIST, sets, repeats.get(n, 1)) for n in times]
    print()
    print_table(
        [
            "images",
            "heap MiB",
            "anonymous MiB",
            "with mapped MiB",
            "seconds",
            "us an image",
            "learning",
            "featurizing",
            "CPU",
        ],
        [one.row() for one in measured],
    )
    return print_asked(asked(measured))


if __name__ == "__main__":
    sys.exit(main())
