"""Words and vectors of the digits inside Ray, and a classifier of scikit-learn's on them.

python ray_job.py REPOSITORY OUT
"""

import sys

import numpy as np
import ray
from sklearn.linear_model import LogisticRegression

import bovw.ray

repository, out = sys.argv[1:]
ray.init(ignore_reinit_error=True)

# A whole job, in Ray's tasks: the files are those of `bovw run`.
run = bovw.ray.run(f"{repository}/configs/digits.toml", set={"output.dir": f"{out}/ray-digits"})
print(run)

# The same on a dataset, wherever its images come from.
digits = ray.data.read_parquet([f"{repository}/data/digits/digits-0000{i}-of-00004.parquet" for i in range(4)])
words = bovw.ray.learn(digits, image="image", rows="id", k=32, patch=3, per_image=0.75)
vectors = bovw.ray.featurize(digits, words, pooling=[2, 2], weighting="hellinger").to_pandas()
x, y = np.stack(vectors["features"]), vectors["label"].to_numpy(int)
train = vectors["id"].to_numpy(int) % 5 != 0
model = LogisticRegression(max_iter=1000).fit(x[train], y[train])
print(f"{model.score(x[~train], y[~train]):.1%} of the other digits are told right")
