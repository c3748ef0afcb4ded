"""The pipeline under every schedule: how many were tried, and whether broken pipelines are found.

    scripts/check_schedules            # some million schedules, then every way to break the runtime
    scripts/check_schedules --quick    # some ten thousand, and three ways

The model is tests/schedules: the files of src/flow over shuttle's locks and threads. Here it is compiled as a package
of its own, so that the runtime can be broken without touching the repository. Exits with 1 where the runtime as it is
fails, or where a break is not found.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The test's own dependencies, in the versions of the repository's lock file.
DEPENDENCIES = ["bytesize", "shuttle", "thiserror"]

PACKAGE = """\
[package]
name = "bovw-schedules"
version = "0.0.0"
edition = "2024"

[dependencies]
{dependencies}

[[test]]
name = "schedules"
path = "tests/schedules/main.rs"

[profile.dev]
opt-level = 2
debug = "line-tables-only"

[workspace]
"""

# Schedules tried, as a multiple of what `cargo test` tries.
FULL, QUICK = 40, 4

# A broken runtime is found within seconds or never.
TIMEOUT_S = 300


@dataclass
class Break:
    """A change of one file of the runtime that must be found."""

    what: str
    file: str
    old: str
    new: str


BREAKS = [
    Break(
        "a permit that comes back wakes nobody",
        "budget.rs",
        "drop(used);\n        self.budget.freed.notify_all();",
        "drop(used);",
    ),
    Break(
        "a failure does not close the budget",
        "threaded.rs",
        "self.budget.close();",
        "",
    ),
    Break(
        "batches are folded as they come",
        "order.rs",
        "self.waiting.remove(&self.next)?",
        "self.waiting.pop_first()?.1",
    ),
    Break(
        "a closed budget wakes nobody",
        "budget.rs",
        "self.lock().closed = true;\n        self.freed.notify_all();",
        "self.lock().closed = true;",
    ),
    Break(
        "whoever is woken takes its permit without looking again",
        "budget.rs",
        "while !used.closed",
        "if !used.closed",
    ),
    Break(
        "the batches of a budget are not counted",
        "budget.rs",
        "|| used.batches >= self.max_batches",
        "",
    ),
    Break(
        "the bytes of a permit do not come back",
        "budget.rs",
        "used.bytes -= self.bytes;",
        "",
    ),
    Break(
        "the permit of a failed batch is lost",
        "threaded.rs",
        "let item = batch.result?;",
        "let item = match batch.result {\n"
        "                Ok(item) => item,\n"
        "                Err(error) => {\n"
        "                    std::mem::forget(batch.permit);\n"
        "                    return Err(error);\n"
        "                }\n"
        "            };",
    ),
    Break(
        "channels have no place for an error beside full budgets",
        "threaded.rs",
        "bounded(max_in_flight + 1)",
        "bounded(max_in_flight)",
    ),
    Break(
        "an error is reported as it comes, not in order",
        "threaded.rs",
        "reorder.push(batch.number, batch);",
        "if let Err(error) = batch.result {\n"
        "            return Err(error);\n"
        "        }\n"
        "        reorder.push(batch.number, batch);",
    ),
    Break(
        "an error of the source has the number of the batch before",
        "threaded.rs",
        "Err(error) => Some(Numbered {\n            number,",
        "Err(error) => Some(Numbered {\n            number: number.saturating_sub(1),",
    ),
    Break(
        "the source goes on after an error",
        "threaded.rs",
        "if is_last {",
        "if is_last && false {",
    ),
    Break(
        "an interruption is forgotten",
        "threaded.rs",
        "shared.left().was_interrupted = true;",
        "",
    ),
    Break(
        "an interruption after the last batch counts",
        "threaded.rs",
        "    shared.left().n_sent = n_sent;",
        "    shared.left().was_interrupted |= shared.interrupt.load(Relaxed);\n    shared.left().n_sent = n_sent;",
    ),
    Break(
        "threads are not sent home when the fold ends",
        "threaded.rs",
        "        self.0.fail();",
        "",
    ),
    Break(
        "the caller keeps a channel open",
        "threaded.rs",
        "drop((to_second, to_fold, from_source, from_first));",
        "drop((to_second, from_source, from_first));\n        let _kept = to_fold;",
    ),
    Break(
        "a worker drops the last batch before it leaves",
        "threaded.rs",
        "if output.send(batch).is_err() {\n            return;\n        }\n    }\n}",
        "if number == 2 || output.send(batch).is_err() {\n            return;\n        }\n    }\n}",
    ),
    Break(
        "a batch is handed on twice",
        "threaded.rs",
        "reorder.push(batch.number, batch);",
        "let number = batch.number;\n"
        "        reorder.push(number, batch);\n"
        "        if number == 3 {\n"
        "            let place = None;\n"
        "            let result = Err(Error::Interrupted);\n"
        "            let again = Numbered { number, result, n_images: 0, place, permit: None };\n"
        "            reorder.push(number, again);\n"
        "        }",
    ),
    Break(
        "a panic of a stage is not caught",
        "pipeline.rs",
        "catch_unwind(AssertUnwindSafe(call)).unwrap_or_else",
        "Ok::<_, Box<dyn std::any::Any + Send>>(call()).unwrap_or_else",
    ),
]

# Of a lost wake-up, of order, and of the end: one of each kind.
QUICK_BREAKS = 3


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the short form, for CI")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bovw-schedules-") as folder:
        package = Path(folder)
        write_package(package)
        is_sound = report_sound(package, QUICK if args.quick else FULL)
        are_found = report_breaks(package, BREAKS[:QUICK_BREAKS] if args.quick else BREAKS)
    return 0 if is_sound and are_found else 1


def write_package(package: Path) -> None:
    """Make a package of the model and of the files that it compiles."""
    versions = {}
    lock = (ROOT / "Cargo.lock").read_text()
    for name, version in re.findall(r'name = "([^"]+)"\nversion = "([^"]+)"', lock):
        versions[name] = version
    lines = [f'{name} = "={versions[name]}"' for name in DEPENDENCIES]
    (package / "Cargo.toml").write_text(PACKAGE.format(dependencies="\n".join(lines)))
    shutil.copy(ROOT / "Cargo.lock", package / "Cargo.lock")
    shutil.copytree(ROOT / "tests/schedules", package / "tests/schedules")
    shutil.copytree(ROOT / "src/flow", package / "src/flow")
    shutil.copy(ROOT / "src/error.rs", package / "src/error.rs")
    (package / "src/lib.rs").write_text("")


def run_model(package: Path, factor: int) -> subprocess.CompletedProcess:
    """Try so many times the schedules that `cargo test` tries."""
    env = os.environ | {
        "BOVW_SCHEDULES": str(factor),
        "CARGO_TARGET_DIR": os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target")),
        "CARGO_INCREMENTAL": "0",
    }
    command = ["cargo", "test", "--quiet", "--test", "schedules"]
    return subprocess.run(
        [*command, "--", "--nocapture", "--test-threads=1"],
        cwd=package,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=None if factor > QUICK else TIMEOUT_S,
    )


def report_sound(package: Path, factor: int) -> bool:
    """Print the schedules of the runtime as it is; whether all hold."""
    print("The runtime as it is. Asked: no deadlock, and what the one-thread driver gives")
    print(f"{'model':36} {'schedules':34} {'tried':>9} {'seconds':>8}  result")
    ended = run_model(package, factor)
    total = 0
    for line in ended.stdout.splitlines():
        if "schedules|" not in line:
            continue
        _, model, kind, n, seconds = line[line.index("schedules|") :].split("|")
        total += int(n)
        print(f"{model:36} {kind:34} {int(n):9,} {seconds:>8}  holds")
    print(f"{'all':36} {'':34} {total:9,}")
    if ended.returncode != 0:
        print(ended.stdout[-4000:], ended.stderr[-4000:], sep="\n")
        print("FAILS: see above")
    return ended.returncode == 0


def report_breaks(package: Path, breaks: list[Break]) -> bool:
    """Print what was broken and how it was found; whether all were."""
    print("\nThe runtime broken on purpose. Asked: each is found")
    print(f"{'broken':58} {'found':6} as")
    n_found = 0
    for broken in breaks:
        path = package / "src/flow" / broken.file
        text = path.read_text()
        if text.count(broken.old) < 1:
            print(f"{broken.what:58} no     {broken.file} has changed: mend BREAKS")
            continue
        path.write_text(text.replace(broken.old, broken.new))
        is_found, how = found(package)
        path.write_text(text)
        n_found += is_found
        print(f"{broken.what:58} {'yes' if is_found else 'NO':6} {how}", flush=True)
    print(f"{n_found} of {len(breaks)} found")
    return n_found == len(breaks)


def found(package: Path) -> tuple[bool, str]:
    """Whether the model fails, and how."""
    try:
        ended = run_model(package, 1)
    except subprocess.TimeoutExpired:
        return False, f"nothing within {TIMEOUT_S} s"
    output = ended.stdout + ended.stderr
    if "could not compile" in output:
        return False, "does not compile"
    if ended.returncode == 0:
        return False, "every schedule holds"
    return True, reason(output)


def reason(output: str) -> str:
    """What the first panic says, in short."""
    match = re.search(r"panicked at [^\n]*\n([^\n]*)", output)
    return match[1].strip()[:80] if match else "the process ended"


if __name__ == "__main__":
    sys.exit(main())
