//! Means and percentiles of errors.

/// Mean of absolute values; 0 of nothing.
pub fn mean_abs(errors: &[f64]) -> f64 {
    errors.iter().map(|error| error.abs()).sum::<f64>() / errors.len().max(1) as f64
}

/// The `p`-th percentile (0 to 100) of absolute values, interpolated; 0 of nothing.
pub fn percentile_abs(errors: &[f64], p: f64) -> f64 {
    let mut sorted: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = p / 100.0 * last as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (place - low as f64)
}

/// The largest absolute value; 0 of nothing.
pub fn worst(errors: &[f64]) -> f64 {
    errors.iter().fold(0.0, |worst, error| error.abs().max(worst))
}

/// `x` for which the sum of squares of `rows * x - values` is least, by the normal equations; unknowns that would be negative
/// are held at 0. `None` if the rows do not determine it.
pub fn least_squares(rows: &[Vec<f64>], values: &[f64]) -> Option<Vec<f64>> {
    let n = rows.first()?.len();
    let mut active: Vec<usize> = (0..n).collect();
    loop {
        let solution = solve(rows, values, &active)?;
        let negative = (0..active.len()).filter(|&i| solution[i] < 0.0);
        match negative.min_by(|&a, &b| solution[a].total_cmp(&solution[b])) {
            Some(index) => {
                active.remove(index);
            }
            None => {
                let mut all = vec![0.0; n];
                active.iter().zip(&solution).for_each(|(&place, &value)| all[place] = value);
                return Some(all);
            }
        }
    }
}

fn solve(rows: &[Vec<f64>], values: &[f64], active: &[usize]) -> Option<Vec<f64>> {
    let n = active.len();
    let mut matrix = vec![vec![0.0; n + 1]; n];
    for (row, value) in rows.iter().zip(values) {
        for i in 0..n {
            for j in 0..n {
                matrix[i][j] += row[active[i]] * row[active[j]];
            }
            matrix[i][n] += row[active[i]] * value;
        }
    }
    for column in 0..n {
        let pivot =
            (column..n).max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()))?;
        matrix.swap(column, pivot);
        if matrix[column][column].abs() < 1e-30 {
            return None;
        }
        let pivot = matrix[column].clone();
        for (_, row) in matrix.iter_mut().enumerate().filter(|(row, _)| *row != column) {
            let factor = row[column] / pivot[column];
            row.iter_mut().zip(&pivot).for_each(|(value, above)| *value -= factor * above);
        }
    }
    Some((0..n).map(|i| matrix[i][n] / matrix[i][i]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_interpolate() {
        assert_eq!(percentile_abs(&[-1.0, 2.0, 3.0, -4.0, 5.0], 50.0), 3.0);
        assert!((percentile_abs(&[0.0, 1.0], 90.0) - 0.9).abs() < 1e-12);
        assert_eq!(percentile_abs(&[], 90.0), 0.0);
    }

    #[test]
    fn a_line_is_found_and_nothing_goes_below_zero() {
        let rows: Vec<Vec<f64>> = (0..5).map(|x| vec![1.0, f64::from(x)]).collect();
        let x = least_squares(&rows, &[1.0, 3.0, 5.0, 7.0, 9.0]).unwrap();
        assert!((x[0] - 1.0).abs() < 1e-9 && (x[1] - 2.0).abs() < 1e-9);
        assert_eq!(least_squares(&rows, &[1.0, 0.5, 0.0, -0.5, -1.0]).unwrap()[1], 0.0);
    }
}
