"""The MNIST job as the measuring scripts run it: where the shards are, the command, and words of several sizes."""

import subprocess
from pathlib import Path

from run_dir import REPOSITORY, RunDir

JOB_FILE = REPOSITORY / "configs" / "mnist.toml"
FOLDERS = (REPOSITORY / "data" / "mnist", REPOSITORY.parent / "shared" / "data" / "mnist")
BOVW = REPOSITORY / "target" / "release" / "bovw"

WORDS: dict[int, dict[str, str | int]] = {
    50: {},
    200: {"n_init": 1},
    1600: {"n_init": 1, "sample.every": 60},
}
"""How words of each size are learned: as the job says, but for these keys."""


def find_shards(folder: Path | None = None) -> list[Path]:
    """The training shards in `folder`, or where they usually are; none if there are none."""
    folders = [folder] if folder else FOLDERS
    return next((found for one in folders if (found := sorted(one.resolve().glob("train-*.parquet")))), [])


def build(*arguments: str) -> None:
    """Builds the release binary, and what else is named."""
    subprocess.run(["cargo", "build", "--release", "--quiet", "--bin", "bovw", *arguments], check=True, cwd=REPOSITORY)


def command(shards: list[Path], out: Path, **sets: str | int) -> list[str]:
    """`bovw run` of the job from the start; values are TOML, keys without a table are of its vocabulary."""
    keys = {"input.files": toml_files(shards), "output.dir": f'"{out}"', "cluster": "[]"}
    keys |= {key if "." in key else f"vocabulary.{key}": str(value) for key, value in sets.items()}
    return [*run(JOB_FILE), *(part for key, value in keys.items() for part in ("--set", f"{key}={value}"))]


def command_with(words: Path, shards: list[Path], out: Path, simd: str) -> list[str]:
    """The same job with finished words, which leaves no room for the keys of the job file's vocabulary."""
    job = out.with_suffix(".toml")
    job.write_text(
        f'input.files = {toml_files(shards)}\npatches.size = [6, 6]\nvocabulary.from = "{words}"\n'
        f'output.dir = "{out}"\nrun.simd = "{simd}"\n'
    )
    return run(job)


def run(job: Path) -> list[str]:
    """A run of a job from the start."""
    return [str(BOVW), "run", str(job), "--fresh", "--quiet", "--json"]


def toml_files(shards: list[Path]) -> str:
    """A TOML list of files."""
    return "[" + ", ".join(f'"{shard}"' for shard in shards) + "]"


def learned(shards: list[Path], out: Path, k: int) -> RunDir:
    """A run that learned `k` words, made where it is not there yet."""
    run = RunDir(out)
    if not (out / "manifest.json").exists():
        subprocess.run(command(shards, out, k=k, **WORDS[k]), check=True, stdout=subprocess.DEVNULL)
    return run
