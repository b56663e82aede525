//! Small linear systems: the weights of multistep methods.

use crate::{Error, Result};

/// Solves `rows · x = right` by elimination with pivoting.
pub(super) fn solve(mut rows: Vec<Vec<f64>>, mut right: Vec<f64>, what: &'static str) -> Result<Vec<f64>> {
    let n = right.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()));
        let pivot = pivot.filter(|row| rows[*row][column] != 0.0 && rows[*row][column].is_finite());
        let pivot = pivot.ok_or(Error::Singular { what })?;
        rows.swap(column, pivot);
        right.swap(column, pivot);
        let (above, below) = rows.split_at_mut(column + 1);
        let pivot = &above[column];
        for (i, row) in below.iter_mut().enumerate() {
            let factor = row[column] / pivot[column];
            row.iter_mut().zip(pivot).for_each(|(value, above)| *value -= factor * above);
            right[column + 1 + i] -= factor * right[column];
        }
    }
    let mut solution = vec![0.0; n];
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|k| rows[row][k] * solution[k]).sum();
        solution[row] = (right[row] - known) / rows[row][row];
    }
    Ok(solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_what_needs_pivots_and_refuses_what_has_no_solution() {
        let solution = solve(vec![vec![0.0, 2.0], vec![1.0, 1.0]], vec![4.0, 5.0], "test").unwrap();
        assert_eq!(solution, vec![3.0, 2.0]);
        assert!(solve(vec![vec![1.0, 1.0], vec![1.0, 1.0]], vec![1.0, 2.0], "test").is_err());
    }
}
