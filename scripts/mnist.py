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
    """`bovw run` of the job from the start; keys without a table are of its vocabulary, values are TOML."""
    files = ", ".join(f'"{shard}"' for shard in shards)
    keys = {"input.files": f"[{files}]", "output.dir": f'"{out}"', "cluster": "[]"}
    keys |= {key if "." in key else f"vocabulary.{key}": str(value) for key, value in sets.items()}
    start = [str(BOVW), "run", str(JOB_FILE), "--fresh", "--quiet", "--json"]
    return start + [part for key, value in keys.items() for part in ("--set", f"{key}={value}")]


def learned(shards: list[Path], out: Path, k: int) -> RunDir:
    """A run that learned `k` words, made where it is not there yet."""
    run = RunDir(out)
    if not (out / "manifest.json").exists():
        subprocess.run(command(shards, out, k=k, **WORDS[k]), check=True, stdout=subprocess.DEVNULL)
    return run
