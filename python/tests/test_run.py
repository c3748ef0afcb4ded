"""Whole jobs and tasks from Python."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import bovw


def outputs(run: bovw.Run) -> dict[str, bytes]:
    files = [*run.features, *run.dir.glob("vocabulary*.parquet")]
    return {str(path.relative_to(run.dir)): path.read_bytes() for path in files}


def test_a_run_tells_where_its_results_are(digits):
    assert digits.run.manifest["counts"]["rows"] == 1797
    assert digits.run.features[0].name.startswith("digits-00000")
    assert digits.run.report.is_file()
    assert digits.run.vocabularies == [digits.run.vocabulary]
    assert "1797 vectors of 32 values" in repr(digits.run)


def test_the_same_again_has_nothing_to_do(digits):
    again = bovw.run(digits.job, set={"output.dir": str(digits.run.dir), "cluster": []})
    assert again.manifest == digits.run.manifest


def test_progress_is_told_to_a_function(digits, tmp_path):
    told = []
    bovw.run(
        digits.job,
        set={"output.dir": str(tmp_path / "out"), "vocabulary.n_init": 20},
        progress=lambda phase, done, total: told.append((phase, done, total)),
    )
    assert told[-1] == ("done", 1, 1)
    assert all(done >= 0 for _, done, _ in told)


def test_progress_is_shown_as_a_bar(digits, tmp_path, capsys):
    bovw.run(digits.job, set={"output.dir": str(tmp_path / "out"), "vocabulary.n_init": 60}, progress=True)
    assert "learning" in capsys.readouterr().err


def test_what_progress_raises_ends_the_run(digits, tmp_path):
    def look(phase: str, done: int, total: int) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        bovw.run(digits.job, set={"output.dir": str(tmp_path / "out")}, progress=look)


def test_a_job_that_is_wrong_says_where(tmp_path):
    job = tmp_path / "my job.toml"
    job.write_text("[input]\nfile = ['a.parquet']\n")
    with pytest.raises(bovw.JobError, match="line 2.*files|files"):
        bovw.run(job)
    with pytest.raises(bovw.JobError, match="cannot read"):
        bovw.run(tmp_path / "none.toml")
    with pytest.raises(bovw.JobError, match="did you mean"):
        bovw.run(job, set={"vocabulary.kk": 3})


def test_another_job_s_directory_is_left_alone(digits, tmp_path):
    where = {"output.dir": str(tmp_path / "out"), "cluster": []}
    bovw.run(digits.job, set=where)
    with pytest.raises(bovw.OtherJobError, match="different job"):
        bovw.run(digits.job, set=where | {"vocabulary.k": 5})
    assert bovw.run(digits.job, set=where | {"vocabulary.k": 5}, fresh=True).vocabulary.k == 5


def test_too_many_bad_images_are_an_exception_after_all_is_written(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": [b"no image", b"\x89PNG\r\n\x1a\n"]}), tmp_path / "a.parquet")
    job = tmp_path / "job.toml"
    job.write_text(
        "[input]\nfiles=['a.parquet']\nimage='image'\non_bad_image='zero'\nmax_bad=0\n"
        "[patches]\nsize=[3,3]\n[vocabulary]\nk=2\n[output]\ndir='out'\n"
    )
    with pytest.raises(bovw.BovwError, match="none of the 2 images|bad"):
        bovw.run(job)


def test_an_interrupted_run_goes_on_to_the_same_bytes(digits, python, tmp_path):
    out = tmp_path / "out"
    text = python(INTERRUPTED, str(digits.job), str(out))
    assert text == "interrupted\n"
    run = bovw.run(digits.job, set=SLOW | {"output.dir": str(out)})
    other = bovw.run(digits.job, set=SLOW | {"output.dir": str(tmp_path / "other")})
    assert outputs(run) == outputs(other)


SLOW = {"vocabulary.n_init": 300, "vocabulary.algorithm": "lloyd", "cluster": []}

INTERRUPTED = f"""
import os, signal, sys, threading
import bovw

threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    bovw.run(sys.argv[1], set={SLOW} | {{"output.dir": sys.argv[2]}})
    print("it ended by itself")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_tasks_in_any_order_and_twice_give_the_bytes_of_the_run(digits, tmp_path):
    where = {"output.dir": str(tmp_path / "out"), "cluster": []}
    plan = bovw.tasks.plan(digits.job, set=where, max_row_groups=2)
    assert plan.kinds == ["sample", "featurize"]
    assert plan.n_tasks == len(plan.tasks) > 4
    assert sum(task["rows"] for task in plan.tasks) == 1797
    merged = None
    for kind in plan.kinds:
        numbers = [task["task"] for task in plan.tasks] * 2
        random.Random(3).shuffle(numbers)
        done = [bovw.tasks.run(digits.job, kind, number, set=where) for number in numbers]
        assert sum(receipt["was_done"] for receipt in done) == plan.n_tasks
        merged = bovw.tasks.merge(digits.job, kind, set=where)
        assert (merged is None) == (kind == "sample")
    assert outputs(merged) == outputs(digits.run)
    assert bovw.tasks.plan(digits.job, set=where).tasks == []


def test_what_tasks_cannot_do_is_told(digits, tmp_path):
    where = {"output.dir": str(tmp_path / "out"), "cluster": []}
    with pytest.raises(bovw.BovwError, match="plan"):
        bovw.tasks.run(digits.job, "sample", 0, set=where)
    bovw.tasks.plan(digits.job, set=where)
    with pytest.raises(bovw.JobError, match="no kind of task"):
        bovw.tasks.run(digits.job, "sampel", 0, set=where)
    with pytest.raises(bovw.BovwError, match="99"):
        bovw.tasks.run(digits.job, "sample", 99, set=where)
    with pytest.raises(bovw.BovwError, match="tf-idf"):
        bovw.tasks.run(digits.job, "documents", 0, set=where)
    with pytest.raises(bovw.BovwError, match="sample"):
        bovw.tasks.merge(digits.job, "sample", set=where)
    with pytest.raises(bovw.BovwError, match="sample"):
        bovw.tasks.run(digits.job, "featurize", 0, set=where)


def test_a_path_is_of_this_program_and_text_of_the_job_s_folder(digits, tmp_path, monkeypatch):
    job = tmp_path / "jobs" / "job.toml"
    job.parent.mkdir()
    job.write_text(digits.job.read_text().replace("../data", str(digits.job.parents[1] / "data")))
    monkeypatch.chdir(tmp_path)
    common = {"cluster": [], "vocabulary.n_init": 1}
    assert bovw.run(job, set=common | {"output.dir": Path("here")}).dir == tmp_path / "here"
    assert bovw.run(job, set=common | {"output.dir": "there"}).dir == tmp_path / "jobs" / "there"
    clusters = [{"of": "pixels", "k": 3}]
    assert bovw.run(job, set={"cluster": clusters, "output.dir": Path("three")}).manifest["clusters"][0]["k"] == 3
    with pytest.raises(TypeError, match="no value of a job"):
        bovw.run(job, set={"input.label": None})


def test_the_stubs_are_of_what_there_is(python):
    package = Path(bovw.__file__).parent
    assert (package / "py.typed").is_file()
    pytest.importorskip("mypy")
    python("import sys\nfrom mypy.stubtest import main\nsys.argv[1:] = ['bovw._bovw']\nsys.exit(main())")
