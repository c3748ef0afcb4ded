"""The examples do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bovw

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_the_notebook(python, mnist):
    out = python(EXAMPLES / "notebook.py", str(mnist / "test-00000-of-00001.parquet"))
    assert "50 words of grey 6x6 patches" in out
    assert float(re.search(r"purity ([\d.]+)", out)[1]) > 0.5


def test_a_pipeline_classifies_mnist(python, mnist):
    train = str(mnist / "train-00000-of-00006.parquet")
    out = python(EXAMPLES / "classify.py", train, "--test", str(mnist / "test-00000-of-00001.parquet"))
    assert float(out.split()[1]) > 0.95


def test_a_loader_of_pytorch(python, digits):
    pytest.importorskip("torch")
    out = python(EXAMPLES / "loader.py", *map(str, digits.run.features))
    assert float(out.split()[1]) > 0.8
    assert "1797 vectors" in out


def test_queries(python, digits):
    out = python(EXAMPLES / "queries.py", *map(str, digits.run.features))
    assert "most_used_word" in out
    assert "1.0" in out, "the first image is most like itself"


@pytest.mark.parametrize("readme", ["README.md", "python/README.md"])
def test_the_readmes_lines(python, digits, readme):
    root = EXAMPLES.parents[1]
    lines = re.findall(r"```python\n(.*?)```", (root / readme).read_text(), re.DOTALL)
    assert any("bovw.Featurizer" in block for block in lines)
    # What the command that stands before them leaves.
    bovw.run(digits.job, fresh=True)
    text = "\n".join(lines)
    python(f"import os\nos.chdir({str(root)!r})\n{text}")


def test_the_version_is_the_crate_s():
    text = (EXAMPLES.parents[1] / "Cargo.toml").read_text()
    assert bovw.__version__ == re.search(r'version = "(.*?)"', text)[1]
