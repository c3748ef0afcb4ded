"""Kills `bovw run` at random moments, resumes it, and holds the result against an undisturbed run.

Moments are spread over the whole duration; one run in four is killed twice before it may end. Between kill and resume,
every file under its final name must open and have the bytes of the undisturbed run; files that were finished may not
be made again, but for those of one shard. Two runs at once come last: one wins, the other is told, and a killed one
leaves no lock.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from hard_job import HardJob, leftovers, not_whole, results, state, table, timeless_manifest
from run_dir import REPOSITORY

PHASES = ("before the state", "learning", "featurizing", "clustering", "report", "after the end")
TWICE_EVERY = 4
TOLD = "another run of bovw is at work in it"


def phase(out: Path, n_features: int, n_clusterings: int) -> str:
    """What a run that was killed had been doing, from what it left."""
    if (out / "manifest.json").exists():
        return "after the end" if (out / "report.html").exists() else "report"
    noted = state(out)
    if not noted:
        return "before the state"
    if not (out / "vocabulary.parquet").exists():
        return "learning"
    if len(list((out / "features").glob("*.parquet"))) < n_features:
        return "featurizing"
    return "clustering" if len(noted["clusters"]) < n_clusterings else "report"


def identities(out: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every features file under its final name."""
    files = (out / "features").glob("*.parquet")
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def kill_at(job: HardJob, seconds: float) -> bool:
    """Starts the job and kills it after a time; whether it was still running."""
    process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait() != 0


class Trials:
    """Kills and what was found after them."""

    def __init__(self, job: HardJob) -> None:
        """Runs the job undisturbed, twice: for its bytes and for its duration."""
        self.job = job
        self.durations = []
        for _ in range(2):
            shutil.rmtree(job.out, ignore_errors=True)
            start = time.monotonic()
            ended = job.run()
            self.durations.append(time.monotonic() - start)
            if ended.returncode != 0:
                sys.exit(f"the undisturbed run failed: {ended.stderr}")
        self.expected = results(job.out)
        self.manifest = timeless_manifest(job.out)
        self.n_features = sum(name.startswith("features/") for name in self.expected)
        self.n_clusterings = len(self.manifest["clusters"])
        self.phases: Counter[str] = Counter()
        self.problems: list[str] = []
        self.redone: list[int] = []
        self.counts: Counter[str] = Counter()

    @property
    def duration(self) -> float:
        """Seconds of an undisturbed run."""
        return min(self.durations)

    def trial(self, number: int, moments: list[float]) -> None:
        """One run that is killed at these moments, and then may end."""
        out = self.job.out
        shutil.rmtree(out, ignore_errors=True)
        was_noted = identities(out)
        for moment in moments:
            self.counts["kills"] += kill_at(self.job, moment)
            self.phases[phase(out, self.n_features, self.n_clusterings)] += 1
            self.note(number, not_whole(out, self.expected), "whole")
            self.note(number, self.kept(was_noted, out), "kept")
            was_noted = identities(out)
        ended = self.job.run()
        self.note(number, [] if ended.returncode == 0 else [f"exit {ended.returncode}: {ended.stderr}"], "resumed")
        self.note(number, self.kept(was_noted, out), "kept")
        found = results(out)
        names = sorted(found.keys() | self.expected.keys())
        other = [f"{name} differs" for name in names if found.get(name) != self.expected.get(name)]
        if ended.returncode == 0 and timeless_manifest(out) != self.manifest:
            other.append("manifest.json differs in more than times")
        self.note(number, other, "same")
        self.note(number, [f"{name} is left over" for name in leftovers(out)], "clean")

    def kept(self, before: dict[str, tuple[int, int]], out: Path) -> list[str]:
        """At most one features file that was finished was made again."""
        after = identities(out)
        redone = [name for name, identity in before.items() if after.get(name) != identity]
        self.redone.append(len(redone))
        return [f"made again: {', '.join(sorted(redone))}"] if len(redone) > 1 else []

    def note(self, number: int, problems: list[str], what: str) -> None:
        """Counts a check that held, or keeps what did not."""
        self.counts[what] += not problems
        self.counts[f"all {what}"] += 1
        self.problems += [f"run {number}: {problem}" for problem in problems]

    def row(self, title: str, what: str) -> tuple[str, str, str, bool]:
        """A line of the table."""
        held, total = self.counts[what], self.counts[f"all {what}"]
        return (title, f"{held} of {total}", "all", held == total)


def two_at_once(trials: Trials) -> list[tuple[str, str, str, bool]]:
    """One wins, the other is told at once; results are whole; a killed winner leaves no lock."""
    job, out = trials.job, trials.job.out
    shutil.rmtree(out, ignore_errors=True)
    winner = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (out / ".bovw-state.json").exists() and winner.poll() is None:
        time.sleep(0.001)
    start = time.monotonic()
    told = job.run()
    seconds = time.monotonic() - start
    is_told = told.returncode == 4 and TOLD in told.stderr
    rows = [("two runs at once: the other is told", f"exit {told.returncode} in {seconds:.2f} s", "exit 4", is_told)]
    winner.kill()
    winner.wait()
    ended = job.run()
    is_free = ended.returncode == 0 and results(out) == trials.expected
    rows.append(("the winner killed: the lock is free", f"exit {ended.returncode}, same bytes", "exit 0", is_free))
    shutil.rmtree(out, ignore_errors=True)
    runs = [subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(4)]
    codes = sorted(process.wait() for process in runs)
    # One that came after the winner had ended finds its results.
    is_whole = set(codes) <= {0, 4} and 0 in codes and results(out) == trials.expected
    rows.append(("four runs started together", f"exits {', '.join(map(str, codes))}, same bytes", "0 or 4", is_whole))
    return rows


def main() -> int:
    """Kills, resumes and compares."""
    parser = argparse.ArgumentParser(prog="scripts/check_kills", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="8 runs of a small job")
    parser.add_argument("--runs", type=int, help="runs that are killed (100, or 8 with --quick)")
    parser.add_argument("--images", type=int, help="images of the job (60000, or 3000 with --quick)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--bovw", type=Path, default=REPOSITORY / "target" / "release" / "bovw", help="the binary")
    options = parser.parse_args()
    n_runs = options.runs or (8 if options.quick else 100)
    n_images = options.images or (3000 if options.quick else 60000)

    drawn = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="bovw-kills-") as folder:
        job = HardJob.make(Path(folder) / "job", options.bovw, n_images)
        trials = Trials(job)
        for number in range(n_runs):
            # A little beyond the end, so that the last steps are hit as well.
            moments = [1.05 * trials.duration * (number + drawn.random()) / n_runs]
            if number % TWICE_EVERY == TWICE_EVERY - 1:
                moments.append(trials.duration * drawn.random())
            trials.trial(number, moments)
        rows = [
            ("runs that were killed, one in four twice", f"{n_runs}, {trials.counts['kills']} kills", "all", True),
            trials.row("resumed to the end", "resumed"),
            trials.row("same bytes as undisturbed, manifest too", "same"),
            trials.row("between: files under final names are whole", "whole"),
            trials.row(f"finished files made again: at most {max(trials.redone)}", "kept"),
            trials.row("nothing left over", "clean"),
            *two_at_once(trials),
        ]
    print(f"{n_images:,} images in {trials.n_features} shards, {trials.duration:.2f} s, seed {options.seed}")
    print("killed while: " + ", ".join(f"{name} {trials.phases[name]}" for name in PHASES))
    holds = table("SIGKILL, then resume", rows)
    for problem in trials.problems[:20]:
        print(f"  {problem}", file=sys.stderr)
    if len(trials.problems) > 20:
        print(f"  and {len(trials.problems) - 20} more", file=sys.stderr)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
