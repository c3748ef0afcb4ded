//! ZCA whitening: the mean and covariance of prepared patches, streamed, and the matrix that makes them white.
//!
//! With mean `m` and population covariance `C = V diag(l) V'`, whitening is `z = W (x - m)`, `W = V diag(1 / sqrt(l + e)) V'`
//! (Bell and Sejnowski 1997; with the epsilon of Coates, Ng and Lee 2011). Sums are merged by the caller in a fixed order;
//! the eigen-decomposition is nalgebra's.

use nalgebra::{DMatrix, SymmetricEigen};

/// Longest patch that can be whitened, in values: the matrix has the square of it.
pub const MAX_D: usize = 1024;

/// A whitening, as it is stored: featurizing uses these very values.
#[derive(Debug, Clone, PartialEq)]
pub struct Whitening {
    /// What is subtracted: `d` values.
    pub mean: Vec<f32>,
    /// `[d][d]`, row-major, symmetric.
    pub matrix: Vec<f32>,
}

/// Sums over patches: how many, of values, and of products of two values.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    n: u64,
    sum: Vec<f64>,
    // [d][d], the lower half.
    products: Vec<f64>,
}

/// Why there is no whitening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CannotWhiten {
    /// There are fewer patches than values in a patch.
    TooFew,
    /// All patches are the same.
    Constant,
}

impl Moments {
    /// Of no patches of `d` values.
    pub fn new(d: usize) -> Moments {
        Moments {
            n: 0,
            sum: vec![0.0; d],
            products: vec![0.0; d * d],
        }
    }

    /// Heap bytes for patches of `d` values.
    pub fn heap_bytes(d: usize) -> u64 {
        8 * (d as u64 + 1) * d as u64
    }

    /// Adds a patch of `d` values.
    pub fn add(&mut self, values: &[f64]) {
        self.n += 1;
        let rows = self.products.chunks_exact_mut(values.len());
        for ((sum, &value), (i, row)) in self.sum.iter_mut().zip(values).zip(rows.enumerate()) {
            *sum += value;
            for (product, &other) in row[..=i].iter_mut().zip(values) {
                *product += value * other;
            }
        }
    }

    /// Adds the sums of later patches.
    pub fn merge(&mut self, later: &Moments) {
        self.n += later.n;
        let add = |to: &mut [f64], from: &[f64]| {
            for (to, from) in to.iter_mut().zip(from) {
                *to += from;
            }
        };
        add(&mut self.sum, &later.sum);
        add(&mut self.products, &later.products);
    }

    /// The whitening of these patches; `epsilon` is above 0.
    pub fn whitening(&self, epsilon: f64) -> Result<Whitening, CannotWhiten> {
        let d = self.sum.len();
        if self.n < d as u64 {
            return Err(CannotWhiten::TooFew);
        }
        let n = self.n as f64;
        let mean: Vec<f64> = self.sum.iter().map(|sum| sum / n).collect();
        let covariance = DMatrix::from_fn(d, d, |i, j| {
            let (row, col) = (i.max(j), i.min(j));
            self.products[row * d + col] / n - mean[row] * mean[col]
        });
        // What rounding alone leaves of equal patches.
        let noise = f64::EPSILON * n.sqrt() * self.diagonal_mean_square();
        if (0..d).all(|i| covariance[(i, i)] <= noise) {
            return Err(CannotWhiten::Constant);
        }
        Ok(Whitening {
            mean: mean.iter().map(|&value| value as f32).collect(),
            matrix: matrix(covariance, epsilon),
        })
    }

    fn diagonal_mean_square(&self) -> f64 {
        let d = self.sum.len();
        let squares = (0..d).map(|i| self.products[i * d + i] / self.n as f64);
        squares.fold(0.0, f64::max)
    }

    /// Heap bytes of [`Moments::whitening`]: the covariance, what the decomposition makes of it, and the matrix.
    pub fn whitening_heap_bytes(d: usize) -> u64 {
        6 * 8 * (d * d) as u64
    }
}

fn matrix(covariance: DMatrix<f64>, epsilon: f64) -> Vec<f32> {
    let d = covariance.nrows();
    let eigen = SymmetricEigen::new(covariance);
    // Rounding can leave a trace below 0.
    let scales: Vec<f64> = eigen
        .eigenvalues
        .iter()
        .map(|value| 1.0 / (value.max(0.0) + epsilon).sqrt())
        .collect();
    let vectors = &eigen.eigenvectors;
    let mut sums = vec![0.0f64; d * d];
    for (at, scale) in scales.iter().enumerate() {
        let column = vectors.column(at);
        for i in 0..d {
            let left = column[i] * scale;
            for (sum, right) in sums[i * d..=i * d + i].iter_mut().zip(column.iter()) {
                *sum += left * right;
            }
        }
    }
    let at = |i: usize, j: usize| sums[i.max(j) * d + i.min(j)] as f32;
    (0..d * d).map(|index| at(index / d, index % d)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::rng::{Purpose, Stream};

    fn patches(n: usize, d: usize) -> Vec<Vec<f64>> {
        let mut stream = Stream::new(3, Purpose::Parts, 0);
        (0..n)
            .map(|_| {
                let shared = stream.unit() * 4.0;
                (0..d).map(|i| shared + i as f64 * stream.unit()).collect()
            })
            .collect()
    }

    fn moments(patches: &[Vec<f64>]) -> Moments {
        let mut moments = Moments::new(patches[0].len());
        for patch in patches {
            moments.add(patch);
        }
        moments
    }

    #[test]
    fn whitened_patches_have_the_identity_for_a_covariance() {
        let d = 5;
        let patches = patches(4000, d);
        let whitening = moments(&patches)
            .whitening(1e-9)
            .expect("enough, and they differ");
        let mut white = Moments::new(d);
        for patch in &patches {
            let centred: Vec<f64> = (0..d)
                .map(|i| patch[i] - f64::from(whitening.mean[i]))
                .collect();
            let row = |i: usize| -> f64 {
                (0..d)
                    .map(|j| f64::from(whitening.matrix[i * d + j]) * centred[j])
                    .sum()
            };
            white.add(&(0..d).map(row).collect::<Vec<f64>>());
        }
        for i in 0..d {
            for j in 0..=i {
                let covariance = white.products[i * d + j] / 4000.0;
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((covariance - expected).abs() < 1e-3, "{i} {j} {covariance}");
            }
        }
    }

    #[test]
    fn parts_that_are_merged_give_the_sums_of_the_whole() {
        let patches = patches(100, 4);
        let mut parts = moments(&patches[..37]);
        parts.merge(&moments(&patches[37..]));
        let whole = moments(&patches);
        assert_eq!(parts.n, whole.n);
        for (a, b) in parts.products.iter().zip(&whole.products) {
            assert!((a - b).abs() <= 1e-9 * b.abs());
        }
    }

    #[test]
    fn too_few_or_equal_patches_cannot_be_whitened() {
        assert_eq!(
            moments(&patches(3, 4)).whitening(0.1),
            Err(CannotWhiten::TooFew)
        );
        let equal = vec![vec![0.1, 200.3, -7.7]; 50];
        assert_eq!(moments(&equal).whitening(0.1), Err(CannotWhiten::Constant));
    }
}
