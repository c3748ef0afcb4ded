"""Featurizes MNIST's training images with every instruction set of this machine, and checks that nothing depends on it.

For vocabularies of 50, 200 and 1 600 words the features files are compared byte for byte over the instruction sets. One
set of them is then recomputed in float64 by brute force (`scripts/check_exact`): every image for k = 50, some for more.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import mnist
from run_dir import RunDir

CHECKED_IMAGES = {50: None, 200: 6_000, 1600: 1_500}
"""Images, spread over all shards, that brute force recomputes; None: all."""
CHECK_EXACT = Path(__file__).resolve().parent / "check_exact.py"


@dataclass(frozen=True)
class Row:
    """What one instruction set gave for one vocabulary."""

    k: int
    simd: str
    patches: int
    decided_again: int
    seconds: float
    hashes: tuple[str, ...]
    """SHA-256 of each features file."""


def instruction_sets(shards: list[Path], work: Path) -> list[str]:
    """Those that this machine has, by bovw's own word."""
    candidates = ("portable", "neon", "avx2", "avx512", "vnni")
    return [simd for simd in candidates if accepts(shards, work, simd)]


def accepts(shards: list[Path], work: Path, simd: str) -> bool:
    """Whether bovw plans a job with this instruction set; any reason but the machine's lack of it ends the script."""
    _, _, *rest = mnist.command(shards, work / "plan", **{"run.simd": f'"{simd}"'})
    sets = [argument for argument in rest if argument not in ("--fresh", "--quiet", "--json")]
    planned = subprocess.run([str(mnist.BOVW), "plan", *sets], capture_output=True, text=True)
    if planned.returncode and "this machine does not have" not in planned.stderr:
        raise SystemExit(planned.stderr)
    return planned.returncode == 0


def featurize(shards: list[Path], words: RunDir, out: Path, k: int, simd: str) -> Row:
    """Featurizes all images with finished words."""
    command = mnist.command_with(words.vocabulary_file, shards, out, simd)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    run = RunDir(out)
    counts, timings = run.manifest["counts"], run.manifest["run"]
    if timings["simd"] != simd:
        raise SystemExit(f"asked for {simd}, the manifest says {timings['simd']}")
    hashes = tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file in run.features_files)
    return Row(k, simd, counts["patches"], counts["decided_again"], timings["featurize_seconds"], hashes)


def check_exact(run: Path, images: int | None) -> tuple[bool, str]:
    """Recomputes a run's counts; whether all agree, and what the check printed."""
    command = [sys.executable, str(CHECK_EXACT), str(run)]
    command += ["--images", str(images)] if images else []
    checked = subprocess.run(command, capture_output=True, text=True)
    return checked.returncode == 0, checked.stdout + checked.stderr


def print_rows(rows: list[Row]) -> bool:
    """Prints a table; whether all instruction sets agree."""
    print("| k | instruction set | patches | decided again | share | featurizing s | features files |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    agree = True
    for row in rows:
        same = row.hashes == next(other for other in rows if other.k == row.k).hashes and len(row.hashes) > 0
        agree &= same
        share = row.decided_again / row.patches
        verdict = f"{len(row.hashes)} the same" if same else "DIFFER"
        print(
            f"| {row.k} | {row.simd} | {row.patches:,} | {row.decided_again:,} | {share:.4%} | {row.seconds:.2f} "
            f"| {verdict} |"
        )
    return agree


def main() -> int:
    """Runs the check."""
    parser = argparse.ArgumentParser(prog="scripts/check_kernels", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--all", action="store_true", help="recompute every image for every k: some ten minutes more")
    parser.add_argument("--k", type=int, nargs="+", choices=list(mnist.WORDS), default=list(mnist.WORDS))
    parser.add_argument("--mnist", type=Path, metavar="DIR", help="folder of train-*.parquet (default: found)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep vocabularies and features there")
    options = parser.parse_args()

    shards = mnist.find_shards(options.mnist)
    if not shards:
        print("skipped: no MNIST; scripts/fetch_mnist gets it")
        return 0
    mnist.build()
    rows: list[Row] = []
    agree = True
    with tempfile.TemporaryDirectory(prefix="bovw-check-") as temporary:
        work = (options.keep or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        sets = instruction_sets(shards, work)
        print(f"instruction sets: {', '.join(sets)}", flush=True)
        for k in options.k:
            words = mnist.learned(shards, work / f"words-{k}", k)
            rows += [featurize(shards, words, work / f"{simd}-{k}", k, simd) for simd in sets]
        agree &= print_rows(rows)
        for k in options.k:
            images = None if options.all else CHECKED_IMAGES[k]
            started = time.perf_counter()
            exact, said = check_exact(work / f"{sets[-1]}-{k}", images)
            agree &= exact
            seconds = time.perf_counter() - started
            print(f"\nk = {k}, {sets[-1]}, against float64 in {seconds:.0f} s:\n{said}", end="", flush=True)
    print("\nall the same, and exact" if agree else "\nNOT all the same, or not exact")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
