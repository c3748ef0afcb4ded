"""Gives mutated shards and images to bovw: no abort, no hang, bounded memory, and an error that names the file.

Most mutants go through the library, many in one process (`examples/mutations`); some through `bovw run`. Every process
has a limit on its address space, so that memory that is only asked for shows as well. A mutant is a function of kind,
seed and number:

    target/release/examples/mutations write shard SEED N N+1 DIR

writes one, to be looked at.
"""

import argparse
import os
import resource
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BOVW = ROOT / "target" / "release" / "bovw"
MUTATIONS = ROOT / "target" / "release" / "examples" / "mutations"

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where files are written that nobody keeps."""

KINDS = ("shard", "image")
N_MUTANTS = 10_000
N_COMMANDS = 150
QUICK_MUTANTS = 300
QUICK_COMMANDS = 10

MAX_SECONDS = 10.0
RUN_MEMORY = 64 << 20
"""`run.memory` of the mutants' job: the ceiling."""
MAX_ADDRESSES = 2 << 30
"""Bytes of address space of every process: no mutant is larger than 100 kB."""
WORKER_STEP = 500
"""Mutants that one process tries."""

JOB = (ROOT / "fuzz" / "job.toml").read_text()


@dataclass
class Tally:
    """What came of the mutants of one kind."""

    mutants: int = 0
    refused: int = 0
    read: int = 0
    aborts: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """No error where there should be one, or one that does not name the file."""
    slowest_seconds: float = 0.0
    peak_bytes: int = 0
    greediest: str = ""

    def note(self, name: str, seconds: float, peak_bytes: int) -> None:
        """Counts a mutant."""
        self.mutants += 1
        self.slowest_seconds = max(self.slowest_seconds, seconds)
        if peak_bytes > self.peak_bytes:
            self.peak_bytes, self.greediest = peak_bytes, name

    def holds(self) -> bool:
        """Whether all that is asked held."""
        return not (self.aborts or self.hangs or self.broken) and self.peak_bytes <= RUN_MEMORY


def limited() -> None:
    """Limits this process, before it becomes another."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESSES, MAX_ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def lines(process: subprocess.Popen[bytes]) -> Iterator[bytes | None]:
    """What a process prints, piece by piece; None where nothing comes for too long."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(MAX_SECONDS):
                yield None
                return
            piece = os.read(process.stdout.fileno(), 1 << 16)
            if not piece:
                return
            yield piece


def try_in_process(kind: str, seed: int, first: int, end: int, tally: Tally) -> None:
    """Mutants first..end in as few processes as they leave alive."""
    while first < end:
        command = [str(MUTATIONS), "run", kind, str(seed), str(first), str(end)]
        text, hung = b"", False
        with tempfile.TemporaryDirectory(dir=MEMORY) as scratch:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                preexec_fn=limited,
                env=os.environ | {"TMPDIR": scratch},
            )
            for piece in lines(process):
                hung = piece is None
                text += piece or b""
            if hung:
                process.kill()
            process.wait()
        *whole, rest = text.decode().split("\n")
        for line in whole:
            number, how, micros, peak = line.split()
            name = f"{kind} {number}"
            tally.note(name, int(micros) / 1e6, int(peak) << 10)
            tally.refused += how == "refused"
            tally.read += how == "read"
            if how.startswith("broken:"):
                tally.broken.append(f"{name}: {how[7:].replace('_', ' ')}")
        first += len(whole)
        if rest:
            (tally.hangs if hung else tally.aborts).append(f"{kind} {rest}: {process.returncode}")
            tally.mutants += 1
            first += 1
        elif process.returncode:
            raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")


def library(kind: str, seed: int, n: int) -> Tally:
    """All mutants of a kind through the library, over all cores."""
    steps = iter(range(0, n, WORKER_STEP))
    tallies = []

    def work(tally: Tally) -> None:
        for first in steps:
            try_in_process(kind, seed, first, min(first + WORKER_STEP, n), tally)

    workers = []
    for _ in range(os.cpu_count() or 1):
        tallies.append(Tally())
        workers.append(threading.Thread(target=work, args=(tallies[-1],)))
        workers[-1].start()
    for worker in workers:
        worker.join()
    return merged(tallies)


def merged(tallies: list[Tally]) -> Tally:
    """What came of the mutants of all workers."""
    total = Tally()
    for tally in tallies:
        total.mutants += tally.mutants
        total.refused += tally.refused
        total.read += tally.read
        total.aborts += tally.aborts
        total.hangs += tally.hangs
        total.broken += tally.broken
        total.slowest_seconds = max(total.slowest_seconds, tally.slowest_seconds)
        if tally.peak_bytes > total.peak_bytes:
            total.peak_bytes, total.greediest = tally.peak_bytes, tally.greediest
    return total


def command_line(kind: str, seed: int, first: int, end: int) -> Tally:
    """Mutants first..end through `bovw run`, each in a folder of its own."""
    tally = Tally()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        root = Path(folder)
        subprocess.run([str(MUTATIONS), "write", kind, str(seed), str(first), str(end), folder], check=True)
        for number in range(first, end):
            try_command(f"bovw run, {kind} {number}", root, f"{number}.parquet", tally)
    return tally


def try_command(label: str, root: Path, name: str, tally: Tally) -> None:
    """Runs a job over one mutant."""
    (root / "job.toml").write_text(JOB)
    command = [str(BOVW), "run", "job.toml", "--fresh", "--progress", "none", "--threads", "2"]
    for keys in (f'input.files=["{name}"]', 'input.on_bad_image="fail"'):
        command += ["--set", keys]
    start = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=limited,
    )
    timer = threading.Timer(MAX_SECONDS, process.kill)
    timer.start()
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    timer.cancel()
    process.returncode = code = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - start
    tally.note(label, seconds, usage.ru_maxrss << 10)
    if seconds >= MAX_SECONDS:
        tally.hangs.append(label)
    elif code not in (0, 1, 2):
        tally.aborts.append(f"{label}: {code} {said}")
    elif code == 0:
        tally.read += 1
    elif "panic" in said or "internal error" in said or not (name in said or "no row" in said or "words" in said):
        tally.broken.append(f"{label}: {said}")
    else:
        tally.refused += 1


def main() -> int:
    """Tries all kinds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few hundred mutants instead of ten thousand")
    parser.add_argument("--mutants", type=int, help=f"mutants of each kind (default {N_MUTANTS})")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    n = args.mutants or (QUICK_MUTANTS if args.quick else N_MUTANTS)
    n_commands = QUICK_COMMANDS if args.quick else N_COMMANDS

    rows = []
    for kind in KINDS:
        rows.append((f"{kind}s", library(kind, args.seed, n)))
        rows.append((f"{kind}s, bovw run", command_line(kind, args.seed, n, n + n_commands)))

    print(
        f"seed {args.seed}; asked: no abort, no hang over {MAX_SECONDS:.0f} s, at most {RUN_MEMORY >> 20} MiB, "
        "every error names the file\n"
        f"{'kind':18} {'mutants':>8} {'refused':>8} {'read':>8} {'aborts':>7} {'hangs':>6} {'broken':>7} "
        f"{'slowest':>9} {'peak MiB':>9}  holds"
    )
    for name, tally in rows:
        print(
            f"{name:18} {tally.mutants:8} {tally.refused:8} {tally.read:8} {len(tally.aborts):7} {len(tally.hangs):6} "
            f"{len(tally.broken):7} {tally.slowest_seconds:7.2f} s {tally.peak_bytes / (1 << 20):9.1f}  "
            f"{'yes' if tally.holds() else 'NO'}"
        )
    for _, tally in rows:
        for what in [*tally.aborts, *tally.hangs, *tally.broken]:
            print(what, file=sys.stderr)
        if tally.peak_bytes > RUN_MEMORY:
            print(f"{tally.greediest}: {tally.peak_bytes / (1 << 20):.1f} MiB", file=sys.stderr)
    return 0 if all(tally.holds() for _, tally in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
