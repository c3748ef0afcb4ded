//! Pooling: which cell of a grid a patch belongs to, for images of any size.
//!
//! A grid of `g` by `h` cells splits the `R` by `C` positions of patches as evenly as can be: the patch in row `i` and column
//! `j` is in cell `(floor(i g / R), floor(j h / C))`, so cells differ by one row or column at most. Several grids are a
//! pyramid (Lazebnik, Schmid and Ponce 2006). What all grids have in common is their *regions*: between two of their lines,
//! patches are in the same cell of every grid. A patch is added to one region; regions are added up to cells.

use super::grid::Grid;

/// A grid of cells: rows and columns, both at least 1.
pub type Cells = [u32; 2];

/// Number of cells of all grids.
pub fn n_cells(grids: &[Cells]) -> usize {
    grids
        .iter()
        .map(|&[rows, cols]| rows as usize * cols as usize)
        .sum()
}

/// The regions of one size of image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regions {
    // Where each row of regions ends, in rows of patches, and each column.
    row_ends: Vec<u32>,
    col_ends: Vec<u32>,
    // Of each cell, in the order of the vector: the rows and columns of regions that it covers.
    cells: Vec<[std::ops::Range<usize>; 2]>,
}

impl Regions {
    /// The regions of `grids` over the patches of an image; `None` where a grid is finer than the positions.
    pub fn new(grids: &[Cells], positions: &Grid) -> Option<Regions> {
        let fits = |&[rows, cols]: &Cells| rows <= positions.rows && cols <= positions.cols;
        if !grids.iter().all(fits) {
            return None;
        }
        let row_ends = ends(grids.iter().map(|grid| grid[0]), positions.rows);
        let col_ends = ends(grids.iter().map(|grid| grid[1]), positions.cols);
        let mut cells = Vec::with_capacity(n_cells(grids));
        for &[rows, cols] in grids {
            for row in 0..rows {
                for col in 0..cols {
                    cells.push([
                        covered(&row_ends, row, rows, positions.rows),
                        covered(&col_ends, col, cols, positions.cols),
                    ]);
                }
            }
        }
        Some(Regions {
            row_ends,
            col_ends,
            cells,
        })
    }

    /// Number of regions.
    pub fn len(&self) -> usize {
        self.row_ends.len() * self.col_ends.len()
    }

    /// Whether there are none; never true.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Regions in a row of them.
    pub fn n_cols(&self) -> usize {
        self.col_ends.len()
    }

    /// Where each row of regions ends, in rows of patches.
    pub fn row_ends(&self) -> &[u32] {
        &self.row_ends
    }

    /// Where each column of regions ends, in columns of patches.
    pub fn col_ends(&self) -> &[u32] {
        &self.col_ends
    }

    /// Adds the values of regions, `n` each, up to those of cells, grid by grid and row by row.
    pub fn add_up(&self, regions: &[f64], n: usize, cells: &mut [f64]) {
        cells.fill(0.0);
        for (cell, [rows, cols]) in cells.chunks_exact_mut(n).zip(&self.cells) {
            for row in rows.clone() {
                for col in cols.clone() {
                    let region = &regions[(row * self.n_cols() + col) * n..][..n];
                    for (sum, value) in cell.iter_mut().zip(region) {
                        *sum += value;
                    }
                }
            }
        }
    }
}

/// Most regions that grids can make.
pub fn max_regions(grids: &[Cells]) -> usize {
    let along = |axis: usize| -> usize {
        let lines: usize = grids.iter().map(|grid| grid[axis] as usize - 1).sum();
        lines + 1
    };
    along(0) * along(1)
}

/// The first of `n` positions that is in part `part` of `n_parts` or a later one.
fn start(part: u32, n_parts: u32, n: u32) -> u32 {
    (u64::from(part) * u64::from(n)).div_ceil(u64::from(n_parts)) as u32
}

/// Where the parts of all of `counts` end, each once.
fn ends(counts: impl Iterator<Item = u32>, n: u32) -> Vec<u32> {
    let mut ends: Vec<u32> = counts
        .flat_map(|n_parts| (1..=n_parts).map(move |part| start(part, n_parts, n)))
        .collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}

/// Which of the stretches that end at `ends` make up a part.
fn covered(ends: &[u32], part: u32, n_parts: u32, n: u32) -> std::ops::Range<usize> {
    let at = |line: u32| ends.partition_point(|&end| end <= line);
    at(start(part, n_parts, n))..at(start(part + 1, n_parts, n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::grid::PatchShape;
    use proptest::prelude::*;

    fn positions(rows: u32, cols: u32) -> Grid {
        let patch = PatchShape {
            height: 1,
            width: 1,
            channels: 1,
        };
        Grid::new(rows, cols, patch, 1).expect("fits")
    }

    proptest! {
        #[test]
        fn every_patch_is_in_the_cell_that_the_definition_names(
            rows in 4u32..20, cols in 4u32..20,
            grids in proptest::collection::vec((1u32..5, 1u32..5).prop_map(|(r, c)| [r, c]), 1..4),
        ) {
            let regions = Regions::new(&grids, &positions(rows, cols)).expect("fine enough");
            prop_assert!(regions.len() <= max_regions(&grids));
            for row in 0..rows {
                for col in 0..cols {
                    let at = |ends: &[u32], i: u32| ends.partition_point(|&end| end <= i);
                    let region = at(regions.row_ends(), row) * regions.n_cols() + at(regions.col_ends(), col);
                    let mut marked = vec![0.0; regions.len()];
                    marked[region] = 1.0;
                    let mut cells = vec![0.0; n_cells(&grids)];
                    regions.add_up(&marked, 1, &mut cells);
                    let mut expected = Vec::new();
                    for [g, h] in &grids {
                        let mut own = vec![0.0; (g * h) as usize];
                        own[(row * g / rows * h + col * h / cols) as usize] = 1.0;
                        expected.extend(own);
                    }
                    prop_assert_eq!(&cells, &expected);
                }
            }
        }
    }

    #[test]
    fn a_grid_finer_than_the_positions_has_no_regions() {
        assert_eq!(Regions::new(&[[1, 1], [3, 3]], &positions(2, 5)), None);
    }
}
