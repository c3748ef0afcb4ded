"""Runs `bovw` on synthetic shards, for the checks of scale: how to make data, run a job, and print what was asked.

Only Python's standard library, so that the checks run where nothing else is installed.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
MIB = 2**20

JOB = """\
[input]
files = ["data/*.parquet"]
[patches]
size = [6, 6]
[sample]
every = 10
per_image = 0.75
[vocabulary]
k = 50
[output]
dir = "out"
"""


@dataclass(frozen=True)
class Asked:
    """One thing that was asked of a measurement."""

    what: str
    at_least: str
    aim: str
    measured: str
    holds: bool
    # Times depend on the machine and whoever else uses it: they are told, and fail nothing.
    is_promise: bool


def binary() -> Path:
    """The release binary, built where it is missing or old."""
    subprocess.run(["cargo", "build", "--release", "--quiet", "--bin", "bovw"], cwd=REPOSITORY, check=True)
    return REPOSITORY / "target" / "release" / "bovw"


def synth(bovw: Path, scene: Path, n_images: int, flags: Sequence[str] = ()) -> dict[str, Any]:
    """Makes `n_images` images for the job in `scene`; what `bovw synth` says of it."""
    scene.mkdir(parents=True, exist_ok=True)
    (scene / "job.toml").write_text(JOB)
    command = [bovw, "synth", "--images", str(n_images), "--out", scene / "data", "--json", "-q", *flags]
    return last_event(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def run(bovw: Path, scene: Path, sets: Sequence[str] = (), within: Sequence[str] = ()) -> dict[str, Any]:
    """Runs the job in `scene` from its start, perhaps within another command; its last event, or an error."""
    command = [*within, str(bovw), "run", str(scene / "job.toml"), "--fresh", "--json", "-q"]
    for key in sets:
        command += ["--set", key]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        event = last_event(process.stdout.read())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        return {"event": "error", "status": process.returncode, "message": event.get("message", "it was killed")}
    # Whoever else uses the machine changes a run's time, and hardly the work of its processors.
    event["run"]["cpu_seconds"] = usage.ru_utime + usage.ru_stime
    return event


def last_event(stdout: bytes) -> dict[str, Any]:
    """The last line of what a command said with --json."""
    lines = stdout.splitlines()
    return json.loads(lines[-1]) if lines else {}


def data_bytes(scene: Path) -> int:
    """Bytes of the job's inputs."""
    return sum(shard.stat().st_size for shard in (scene / "data").iterdir())


def output_hashes(scene: Path) -> dict[str, str]:
    """The hashes of the vocabulary and of all features files, by their names."""
    manifest = json.loads((scene / "out" / "manifest.json").read_text())
    outputs = {output["path"]: output["blake3"] for output in manifest["outputs"]}
    return {path: digest for path, digest in outputs.items() if path.startswith(("features/", "vocabulary"))}


def drop_cache(scene: Path) -> None:
    """Takes the job's inputs out of the page cache, so that they come from the disk."""
    for shard in (scene / "data").iterdir():
        descriptor = os.open(shard, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Cells under one another: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def print_asked(asked: Sequence[Asked]) -> int:
    """The table of what was asked; the exit status."""
    print()
    words = {True: "yes", False: "no"}
    print_table(
        ["asked", "at least", "aim", "measured", "holds"],
        [[one.what, one.at_least, one.aim, one.measured, words[one.holds]] for one in asked],
    )
    return int(any(one.is_promise and not one.holds for one in asked))
