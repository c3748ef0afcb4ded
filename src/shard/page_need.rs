//! What reading the pages of a job's inputs takes at most: a part of the memory plan.
//!
//! A footer says how large a column chunk is, not how large its pages are. Where a chunk would fit as one page, that is
//! enough; only where it would not are its page headers walked, up to a bound, since they are all over the file. What
//! is not walked here is walked when it is read, and refused there if need be.

use super::read::{Shard, Wanted};
use crate::error::{Place, Result};

/// Page headers that are looked at for all inputs together: seconds on a slow disk.
const MAX_HEADERS: u64 = 1 << 15;

/// Of the ceiling, the share that pages may have without a look at their headers.
const UNSEEN_SHARE: u64 = 32;

/// The most that reading the pages of a row group takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageNeed {
    /// Heap bytes; 0 where pages are read in place.
    pub heap_bytes: u64,
    /// Which pages those are, if they were looked at: where, and the bytes of the largest.
    pub largest: Option<(Place, u64)>,
}

/// Finds out what pages take, shard by shard.
#[derive(Debug)]
pub(super) struct PageSurvey {
    need: PageNeed,
    unseen_bytes: u64,
    n_headers_left: u64,
}

impl PageSurvey {
    /// A survey for a job that may take `memory_bytes` in all.
    pub(super) fn new(memory_bytes: u64) -> PageSurvey {
        PageSurvey {
            need: PageNeed::default(),
            unseen_bytes: memory_bytes / UNSEEN_SHARE,
            n_headers_left: MAX_HEADERS,
        }
    }

    /// Looks at the columns that are read of a shard.
    pub(super) fn see(&mut self, shard: &Shard, wanted: &[Wanted]) -> Result<()> {
        for row_group in 0..shard.n_row_groups() {
            let most = shard.most_page_bytes(row_group, wanted);
            if most <= self.unseen_bytes {
                self.need.heap_bytes = self.need.heap_bytes.max(most);
            } else if most > self.need.heap_bytes && self.n_headers_left > 0 {
                let cost = shard.page_cost(row_group, wanted)?;
                self.n_headers_left = self.n_headers_left.saturating_sub(cost.n_pages);
                if cost.heap_bytes > self.need.heap_bytes {
                    let place = Place::file(shard.path()).row_group(row_group);
                    let (column, page_bytes) = cost.largest;
                    self.need = PageNeed {
                        heap_bytes: cost.heap_bytes,
                        largest: Some((place.column(column), page_bytes)),
                    };
                }
            }
        }
        Ok(())
    }

    /// What was found.
    pub(super) fn finish(self) -> PageNeed {
        self.need
    }
}
