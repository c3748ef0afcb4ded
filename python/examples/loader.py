"""A PyTorch DataLoader over features files: row groups are read as they are needed, a linear layer is trained.

python loader.py FEATURES.parquet...
"""

import sys
from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq
import torch


class Features(torch.utils.data.IterableDataset):
    """Vectors and labels of features files, a row group at a time, shared out among a loader's workers."""

    def __init__(self, paths: list[str]) -> None:
        files = [pq.ParquetFile(path) for path in paths]
        self.groups = [(path, at) for path, file in zip(paths, files, strict=True) for at in range(file.num_row_groups)]
        self.n_values = files[0].schema_arrow.field("features").type.list_size

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        """The rows of this worker's row groups."""
        worker = torch.utils.data.get_worker_info()
        own = self.groups[worker.id :: worker.num_workers] if worker else self.groups
        for path, at in own:
            group = pq.ParquetFile(path).read_row_group(at, columns=["features", "label"])
            vectors = group["features"].combine_chunks().flatten().to_numpy().reshape(-1, self.n_values)
            yield from zip(torch.from_numpy(np.sqrt(vectors)), group["label"].to_pylist(), strict=True)


data = Features(sys.argv[1:])
loader = torch.utils.data.DataLoader(data, batch_size=256, num_workers=2)
model = torch.nn.Linear(data.n_values, 10)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(10):
    n_right, n = 0, 0
    for X, y in loader:
        scores = model(X)
        loss = torch.nn.functional.cross_entropy(scores, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        n_right, n = n_right + (scores.argmax(1) == y).sum().item(), n + len(y)
print(f"accuracy {n_right / n:.3f} on the {n} vectors that it was trained on")
