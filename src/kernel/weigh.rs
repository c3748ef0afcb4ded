//! Weighting: what becomes of an image's sums over patches, step by step.
//!
//! In float64, in the order of the vector; a vector of zeros stays one, whatever would divide by its sum.

/// One step. The steps of a job are taken in the order in which it lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighting {
    /// Divided by the sum over the whole vector, so that it sums to 1.
    Frequency,
    /// The square root of the frequency; of signed residuals (VLAD), of each value, with its sign (Perronnin, Sánchez and
    /// Mensink 2010).
    Hellinger,
    /// Divided by the Euclidean length of the whole vector.
    L2,
    /// Times the word's weight ([`super::vocabulary::Documents::idf`]), in every cell.
    TfIdf,
    /// The residuals of each word in each cell divided by their length (Arandjelović and Zisserman 2013).
    Intra,
}

impl Weighting {
    /// All of them, by name as in job files.
    pub const ALL: [(&'static str, Weighting); 5] = [
        ("frequency", Weighting::Frequency),
        ("hellinger", Weighting::Hellinger),
        ("l2", Weighting::L2),
        ("tf-idf", Weighting::TfIdf),
        ("intra", Weighting::Intra),
    ];

    /// Its name in job files.
    pub fn name(self) -> &'static str {
        match self {
            Weighting::Frequency => "frequency",
            Weighting::Hellinger => "hellinger",
            Weighting::L2 => "l2",
            Weighting::TfIdf => "tf-idf",
            Weighting::Intra => "intra",
        }
    }
}

/// What the steps need to know of a vector.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// Values of a word in a cell: 1, or as many as a residual has.
    pub n_per_word: usize,
    /// Weight of each word; looked at by [`Weighting::TfIdf`] alone.
    pub idf: &'a [f64],
}

/// Takes `steps` on `vector`, cells of words one after another.
pub fn weigh(vector: &mut [f64], steps: &[Weighting], shape: Shape<'_>) {
    for step in steps {
        match step {
            Weighting::Frequency => divide(vector, sum_of),
            Weighting::Hellinger => {
                if shape.n_per_word == 1 {
                    divide(vector, sum_of);
                }
                for value in vector.iter_mut() {
                    *value = value.abs().sqrt().copysign(*value);
                }
            }
            Weighting::L2 => divide(vector, length_of),
            Weighting::TfIdf => {
                for cell in vector.chunks_exact_mut(shape.idf.len() * shape.n_per_word) {
                    for (word, idf) in cell.chunks_exact_mut(shape.n_per_word).zip(shape.idf) {
                        word.iter_mut().for_each(|value| *value *= idf);
                    }
                }
            }
            Weighting::Intra => {
                for word in vector.chunks_exact_mut(shape.n_per_word) {
                    divide(word, length_of);
                }
            }
        }
    }
}

fn divide(values: &mut [f64], by: fn(&[f64]) -> f64) {
    let by = by(values);
    if by > 0.0 {
        values.iter_mut().for_each(|value| *value /= by);
    }
}

fn sum_of(values: &[f64]) -> f64 {
    values.iter().sum()
}

fn length_of(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighed(vector: &[f64], steps: &[Weighting], n_per_word: usize) -> Vec<f64> {
        let mut vector = vector.to_vec();
        let idf = [1.0, 2.0];
        let shape = Shape {
            n_per_word,
            idf: &idf,
        };
        weigh(&mut vector, steps, shape);
        vector
    }

    #[test]
    fn each_step_is_what_its_name_says() {
        use Weighting::{Frequency, Hellinger, Intra, L2, TfIdf};
        assert_eq!(weighed(&[1.0, 3.0], &[Frequency], 1), [0.25, 0.75]);
        assert_eq!(weighed(&[1.0, 3.0, 0.0, 0.0], &[Hellinger], 1)[..1], [0.5]);
        assert_eq!(weighed(&[3.0, 4.0], &[L2], 1), [0.6, 0.8]);
        assert_eq!(
            weighed(&[1.0, 1.0, 3.0, 5.0], &[TfIdf], 1),
            [1.0, 2.0, 3.0, 10.0]
        );
        assert_eq!(weighed(&[-4.0, 9.0], &[Hellinger], 2), [-2.0, 3.0]);
        assert_eq!(
            weighed(&[3.0, -4.0, 0.0, 0.0], &[Intra], 2),
            [0.6, -0.8, 0.0, 0.0]
        );
        assert_eq!(weighed(&[3.0, 2.0], &[TfIdf, L2], 1), [0.6, 0.8]);
    }

    #[test]
    fn zeros_stay_zeros_under_every_step() {
        for (_, step) in Weighting::ALL {
            assert_eq!(weighed(&[0.0; 4], &[step], 1), [0.0; 4]);
        }
    }
}
