"""Runs `bovw` on file systems that are too small, one size after another, then makes room and resumes.

Every writing place is to be hit: the spilled sample, kept patches, words, features, lists of bad images, clusters,
centroids, kept images, the manifest, the state, imported shards. Each time: one clear error that says what is full and
what to do, no half file, and, with room again, the bytes of an undisturbed run. A limit on file sizes comes last: it
may not kill the process.
"""

import argparse
import contextlib
import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hard_job import HardJob, leftovers, not_whole, results, table, timeless_manifest
from run_dir import REPOSITORY

KIB = 1024
PAGE = 4096
ROOM = 1 << 30
FULL = "No space left on device"
HELP = "free some space and run the same command again"
# A place, and what names it in a message.
PLACES = (
    ("sample", r"spill the sample|spilled"),
    ("state", r"\.bovw-state|create a file in|\.bovw-lock"),
    ("features", r"features"),
    ("vocabulary", r"vocabulary"),
    ("clusters", r"clusters"),
    ("bad images", r"bad_images"),
    ("pictures", r"pictures"),
    ("manifest", r"manifest"),
    ("report", r"report"),
    ("checkpoint", r"checkpoint"),
)
# What a sweep in small steps must have met.
MUST_BE_HIT = ("sample", "state", "features", "vocabulary", "clusters", "bad images", "pictures")


@contextlib.contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of its own, in memory."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "bovw", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def resize(folder: Path, size_bytes: int) -> None:
    """Makes room, or takes it."""
    subprocess.run(["mount", "-o", f"remount,size={size_bytes}", str(folder)], check=True)


def used_bytes(folder: Path) -> int:
    """Bytes that the results in a folder take on a file system of pages; what is drawn of them comes on top."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".png", ".html"))
    return sum(-(-path.stat().st_size // PAGE) * PAGE for path in files)


def place_of(stderr: str) -> str:
    """Which writing place a message names."""
    line = next((line for line in stderr.splitlines() if FULL in line), stderr)
    # The folder itself may be called like a place.
    line = re.sub(r"\S*/disk/out", "", line)
    return next((name for name, pattern in PLACES if re.search(pattern, line)), "elsewhere")


class Sweep:
    """Sizes that were tried, and what was found."""

    def __init__(self, folder: Path) -> None:
        """Nothing yet."""
        self.disk = folder / "disk"
        self.places: Counter[str] = Counter()
        self.warned = 0
        self.n_failed = 0
        self.n_done = 0
        self.held: Counter[str] = Counter()
        self.problems: list[str] = []

    def note(self, size: int, what: str, problem: str | None) -> None:
        """Counts a check that held, or keeps what did not."""
        self.held[what] += problem is None
        self.held[f"all {what}"] += 1
        if problem is not None:
            self.problems.append(f"disk of {size} bytes: {problem}")

    def row(self, title: str, what: str) -> tuple[str, str, str, bool]:
        """A line of the table."""
        held, total = self.held[what], self.held[f"all {what}"]
        return (title, f"{held} of {total}", "all", held == total)


def undisturbed(job: HardJob) -> tuple[dict[str, bytes], dict[str, object], int]:
    """The bytes and the manifest of a run with room, and how much of it is needed."""
    out = job.path / "undisturbed"
    ended = job.run(out)
    if ended.returncode != 0:
        sys.exit(f"the undisturbed run failed: {ended.stderr}")
    return results(out), timeless_manifest(out), used_bytes(out)


def try_size(job: HardJob, sweep: Sweep, expected: tuple[dict[str, bytes], dict[str, object]], size: int) -> None:
    """One run on a disk of this size, then one with room."""
    with small_disk(sweep.disk, size) as disk:
        out = disk / "out"
        ended = job.run(out)
        if ended.returncode == 0:
            sweep.n_done += 1
            sweep.warned += FULL in ended.stderr
        else:
            sweep.n_failed += 1
            sweep.places[place_of(ended.stderr)] += 1
            is_clear = ended.returncode == 1 and FULL in ended.stderr and HELP in ended.stderr
            is_one = len(re.findall(r"^error", ended.stderr, re.MULTILINE)) == 1
            problem = None if is_clear and is_one else f"exit {ended.returncode}: {ended.stderr.strip()}"
            sweep.note(size, "clear", problem)
        wrong = not_whole(out, expected[0]) if out.exists() else []
        sweep.note(size, "whole", "; ".join(wrong) or None)
        kept = results(out) if out.exists() else {}
        resize(disk, ROOM)
        ended = job.run(out)
        is_done = ended.returncode == 0
        sweep.note(size, "resumed", None if is_done else f"with room: exit {ended.returncode}: {ended.stderr}")
        found = results(out)
        lost = [name for name in kept if kept[name] != found.get(name)]
        sweep.note(size, "lost", f"lost: {lost}" if lost else None)
        is_same = ended.returncode == 0 and found == expected[0] and timeless_manifest(out) == expected[1]
        sweep.note(size, "same", None if is_same else "other bytes after resuming")
        sweep.note(size, "clean", "; ".join(leftovers(out)) or None)


def sizes_of(n_sizes: int, needed: int, smallest: int) -> list[int]:
    """Sizes from hardly anything to enough, closer together where small files are written."""
    shares = [(step + 1) / n_sizes for step in range(n_sizes)]
    return [max(smallest, int(needed * share)) // PAGE * PAGE for share in shares]


def check_import(job: HardJob, sweep: Sweep, sizes: list[int]) -> None:
    """`bovw import` on a disk that is too small writes no shard, says so, and works with room."""
    labels, pixels = [], []
    for i in range(3000):
        labels.append(i % 10)
        pixels.append(",".join(str((i * 7 + j * 13) % 256) for j in range(64)))
    table_file = job.path / "images.csv"
    table_file.write_text("\n".join(f"{row},{label}" for row, label in zip(pixels, labels, strict=True)))
    for size in sizes:
        with small_disk(sweep.disk, size) as disk:
            command = [str(job.bovw), "import", "csv", str(table_file), "--label", "last", "--rows-per-shard", "500"]
            command += ["--out", str(disk / "shards")]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            shards = list((disk / "shards").glob("*")) if (disk / "shards").exists() else []
            is_clear = ended.returncode == 1 and FULL in ended.stderr and not shards
            found = f"import: exit {ended.returncode}, {len(shards)} files: {ended.stderr.strip()}"
            sweep.note(size, "import", None if is_clear else found)
            resize(disk, ROOM)
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            is_done = ended.returncode == 0 and len(list((disk / "shards").glob("*.parquet"))) == 6
            sweep.note(size, "import", None if is_done else f"import with room: {ended.stderr.strip()}")


def check_file_limit(job: HardJob, sweep: Sweep, expected: dict[str, bytes], limits: list[int]) -> None:
    """A limit on file sizes is an error like a full disk, and no signal."""
    for limit in limits:
        out = job.path / f"limited-{limit}"
        ended = subprocess.run(
            job.command(out),
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        # The largest files are pictures and the report, without which a run is done all the same.
        is_clear = ended.returncode in (0, 1) and "ulimit -f" in ended.stderr
        found = f"exit {ended.returncode}: {ended.stderr.strip()}"
        sweep.note(limit, "limit", None if is_clear else f"limit on files: {found}")
        again = job.run(out)
        is_same = again.returncode == 0 and results(out) == expected and not leftovers(out)
        sweep.note(limit, "limit", None if is_same else f"without the limit: exit {again.returncode}: {again.stderr}")


def main() -> int:
    """Sweeps sizes and prints what was found."""
    parser = argparse.ArgumentParser(prog="scripts/check_full_disk", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="12 sizes of a small job")
    parser.add_argument("--sizes", type=int, help="sizes that are tried (60, or 12 with --quick)")
    parser.add_argument("--images", type=int, help="images of the job (3000, or 1500 with --quick)")
    parser.add_argument("--bovw", type=Path, default=REPOSITORY / "target" / "release" / "bovw", help="the binary")
    options = parser.parse_args()
    n_sizes = options.sizes or (12 if options.quick else 60)
    n_images = options.images or (1500 if options.quick else 3000)

    with tempfile.TemporaryDirectory(prefix="bovw-full-disk-") as name:
        folder = Path(name)
        try:
            with small_disk(folder / "probe", 1 << 20):
                pass
        except (OSError, subprocess.CalledProcessError):
            print("scripts/check_full_disk: skipped, small file systems cannot be mounted here")
            return 0
        job = HardJob.make(folder / "job", options.bovw, n_images, on_bad_image="zero")
        expected, manifest, needed = undisturbed(job)
        sweep = Sweep(folder)
        for size in sizes_of(n_sizes, int(needed * 1.1), 4 * KIB):
            try_size(job, sweep, (expected, manifest), size)
        # So little memory that the sample goes to the disk, where it takes more than all results.
        spilling = HardJob.make(
            folder / "spilling", options.bovw, max(n_images, 5000), memory="18MiB", every=1, clusters=""
        )
        spilled = undisturbed(spilling)
        for size in sizes_of(n_sizes // 4, 4 << 20, 64 * KIB):
            try_size(spilling, sweep, spilled[:2], size)
        check_import(job, sweep, [8 * KIB, 32 * KIB, 96 * KIB])
        check_file_limit(job, sweep, expected, [512, 4 * KIB, 20 * KIB, 64 * KIB])
    places = ", ".join(f"{name} {sweep.places[name]}" for name, _ in PLACES)
    print(f"{n_images:,} images, {needed / KIB:,.0f} KiB of results")
    alone = f"{sweep.warned} of the {sweep.n_done} others for the report alone"
    print(f"{sweep.n_failed} sizes were too small for the run, {alone}")
    print(f"full while writing: {places}")
    rows = [
        sweep.row("one clear error, exit 1, with what to do", "clear"),
        sweep.row("no half file under a final name", "whole"),
        sweep.row("with room: resumed to the end", "resumed"),
        sweep.row("nothing that was finished is lost", "lost"),
        sweep.row("same bytes as undisturbed, manifest too", "same"),
        sweep.row("nothing left over", "clean"),
        sweep.row("import: an error, no shard; with room, all", "import"),
        sweep.row("a limit on file sizes: an error; without, all", "limit"),
    ]
    if not options.quick:
        missed = [name for name in MUST_BE_HIT if not sweep.places[name]]
        hit = len(MUST_BE_HIT) - len(missed)
        rows.append((f"writing places hit{' but ' * bool(missed)}{', '.join(missed)}", str(hit), "all", not missed))
    holds = table("Full disk, then room and resume", rows)
    for problem in sweep.problems[:20]:
        print(f"  {problem}", file=sys.stderr)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
