"""Words and vectors of the digits inside Spark, and a classifier of Spark's own on them.

python spark_job.py REPOSITORY OUT
"""

import sys

from pyspark.ml.classification import LogisticRegression
from pyspark.ml.functions import array_to_vector
from pyspark.sql import SparkSession

import bovw.spark

repository, out = sys.argv[1:]
spark = SparkSession.builder.getOrCreate()

# A whole job, in Spark's tasks: the files are those of `bovw run`.
run = bovw.spark.run(spark, f"{repository}/configs/digits.toml", set={"output.dir": f"{out}/spark-digits"})
print(run)

# The same on a DataFrame, wherever its images come from.
digits = spark.read.parquet(f"{repository}/data/digits/*.parquet")
words = bovw.spark.learn(digits, image="image", rows="id", k=32, patch=3, per_image=0.75)
vectors = bovw.spark.featurize(digits, words, pooling=[2, 2], weighting="hellinger")
train, test = vectors.withColumn("features", array_to_vector("features")).randomSplit([0.8, 0.2], seed=1)
model = LogisticRegression(maxIter=20).fit(train)
print(f"{model.evaluate(test).accuracy:.1%} of the other digits are told right")
