//! Sums in lanes: in an order that is fixed, and that no addition has to wait for.

/// The sum of `value` over `values`, in lanes: a single sum would wait for itself.
#[inline(always)]
pub fn lane_sum<T: Copy>(values: &[T], value: impl Fn(T) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let (rows, rest) = values.as_chunks::<8>();
    for row in rows {
        for (sum, &one) in sums.iter_mut().zip(row) {
            *sum += value(one);
        }
    }
    for (sum, &one) in sums.iter_mut().zip(rest) {
        *sum += value(one);
    }
    sums.iter().sum()
}
