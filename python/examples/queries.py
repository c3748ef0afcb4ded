"""DuckDB and polars over features: which words each class uses most, and the images most like a given one.

python queries.py FEATURES.parquet...
"""

import sys

import duckdb
import numpy as np
import polars as pl

files = sys.argv[1:]
print(
    duckdb.sql(
        """
        with uses as (
            select label, generate_subscripts(features, 1) - 1 as word, unnest(features) as uses
            from read_parquet($files)
        ), sums as (select label, word, sum(uses) as uses from uses group by all)
        select label, arg_max(word, uses) as most_used_word, max(uses)::bigint as uses
        from sums group by label order by label
        """,
        params={"files": files},
    )
)

frame = pl.concat([pl.read_parquet(file) for file in files])
X = frame["features"].to_numpy()
similarity = (X @ X[0]) / (np.linalg.norm(X, axis=1) * np.linalg.norm(X[0]))
print(frame.with_columns(similarity=similarity).top_k(5, by="similarity").select("label", "n_patches", "similarity"))
