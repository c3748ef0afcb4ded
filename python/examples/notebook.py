"""The notebook that bovw grew out of, in a dozen lines: images clustered, held against labels; words; vectors.

python notebook.py IMAGES.parquet
"""

import io
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, confusion_matrix

import bovw

table = pq.read_table(sys.argv[1])
images = np.stack([np.asarray(Image.open(io.BytesIO(row["bytes"]))) for row in table["image"].to_pylist()])
labels = table["label"].to_numpy()
clusters = KMeans(n_clusters=10, n_init=3, random_state=0).fit_predict(images.reshape(len(images), -1))
purity = confusion_matrix(labels, clusters).max(axis=0).sum() / len(labels)
print(f"10 clusters of images: purity {purity:.3f}, ARI {adjusted_rand_score(labels, clusters):.3f}")
words = bovw.learn(images[::10], k=50, patch=6, per_image=0.75, algorithm="lloyd", n_init=3)
vectors = bovw.Featurizer(words)(images)
print(f"{words}, inertia {words.inertia_per_patch:.3f} a patch: {len(vectors)} vectors of {vectors.shape[1]} values")
Path("words.html").write_text(words._repr_html_())  # what a notebook shows for `words`
