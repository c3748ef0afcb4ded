//! How long learning takes on a sample in memory: 500 images, about 198 000 patches of 6x6.
//!
//! `first-words` is one restart that ends after one pass: the choice of the first words (k-means++), and what it takes to
//! start and finish. `mini-batch` and `lloyd` are one restart each until it stands still. Throughput is patches of the
//! sample a second, however often each was looked at.
//!
//! ```text
//! cargo bench --bench kmeans               # about a minute
//! cargo bench --bench kmeans -- --quick    # less exact
//! cargo bench --bench kmeans -- lloyd      # what has this in its name
//! ```

mod common;

use bovw::kernel::kmeans::{Algorithm, KMeansParams};
use criterion::{BenchmarkId, Throughput};

/// Images that the sample is drawn from.
const N_IMAGES: usize = 500;

fn main() {
    let mut criterion = common::criterion().sample_size(10);
    let sample = common::sample(&common::images(N_IMAGES));
    let mut group = criterion.benchmark_group("learn");
    group.throughput(Throughput::Elements(sample.view().n_patches()));
    for (name, params) in cases() {
        for threads in [1, 2] {
            let id = BenchmarkId::new(
                format!("{name}/k{}", params.k),
                format!("{threads}-threads"),
            );
            group.bench_function(id, |bencher| {
                bencher.iter(|| common::learned(&sample, &params, threads));
            });
        }
    }
    group.finish();
    criterion.final_summary();
}

fn cases() -> Vec<(&'static str, KMeansParams)> {
    vec![
        ("first-words", common::params(50, Algorithm::MiniBatch, 1)),
        ("first-words", common::params(400, Algorithm::MiniBatch, 1)),
        ("mini-batch", common::params(50, Algorithm::MiniBatch, 300)),
        ("lloyd", common::params(50, Algorithm::Lloyd, 300)),
    ]
}
