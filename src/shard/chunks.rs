//! Rows in chunks of one size, however they arrive: what a Parquet writer makes of rows depends on how it gets them.

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

/// Collects rows until there is a chunk of them.
#[derive(Debug)]
pub struct Chunks {
    schema: SchemaRef,
    chunk_rows: usize,
    pending: Vec<RecordBatch>,
    n_pending: usize,
}

impl Chunks {
    /// Chunks of `chunk_rows` rows, at least 1, of this schema.
    pub fn new(schema: SchemaRef, chunk_rows: usize) -> Chunks {
        Chunks {
            schema,
            chunk_rows,
            pending: Vec::new(),
            n_pending: 0,
        }
    }

    /// Adds rows; gives the chunks that are full, in order.
    pub fn push(&mut self, batch: RecordBatch) -> Vec<RecordBatch> {
        self.n_pending += batch.num_rows();
        self.pending.push(batch);
        if self.n_pending < self.chunk_rows {
            return Vec::new();
        }
        let all = self.rest();
        let whole = all.num_rows() / self.chunk_rows * self.chunk_rows;
        self.n_pending = all.num_rows() - whole;
        self.pending.push(all.slice(whole, self.n_pending));
        (0..whole)
            .step_by(self.chunk_rows)
            .map(|start| all.slice(start, self.chunk_rows))
            .collect()
    }

    /// The rows that fill no chunk.
    pub fn rest(&mut self) -> RecordBatch {
        self.n_pending = 0;
        let pending = std::mem::take(&mut self.pending);
        match concat_batches(&self.schema, &pending) {
            Ok(batch) => batch,
            Err(error) => unreachable!("batches of one schema: {error}"),
        }
    }
}
