"""A scikit-learn pipeline that classifies MNIST from patches.

python classify.py TRAIN.parquet... --test TEST.parquet
"""

import io
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bovw.sklearn import BagOfPatches


def load(paths: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of shards."""
    table = pa.concat_tables([pq.read_table(path) for path in paths])
    images = [np.asarray(Image.open(io.BytesIO(row["bytes"]))) for row in table["image"].to_pylist()]
    return np.stack(images), table["label"].to_numpy()


at = sys.argv.index("--test")
X, y = load(sys.argv[1:at])
pipeline = make_pipeline(
    BagOfPatches(n_words=200, patch_size=6, pooling=(2, 2), weighting="hellinger", per_image=20),
    StandardScaler(),
    LogisticRegression(C=0.01, max_iter=300),
)
pipeline.fit(X, y)
print(f"accuracy {pipeline.score(*load(sys.argv[at + 1 :])):.4f}")
