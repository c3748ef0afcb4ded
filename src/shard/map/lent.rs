//! Bytes of a mapped file whose pages go back to the system when nobody looks at them any more.
//!
//! A page that was read stays mapped, and counts as the process's, until someone says that it is not needed. The system
//! may keep what it was given back in its cache, where it is the first to go when memory is short.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::{Mmap, UncheckedAdvice};

use super::Mapping;

/// The system maps pages around the one that is asked for in windows of so many bytes, at multiples of it.
const WINDOW_BYTES: usize = 64 << 10;

/// Fewer bytes are not given back by themselves: telling the system costs more than keeping them.
const MIN_LENT_BYTES: usize = 16 << 10;

/// Bytes of a mapping; `bytes` are all of it. Their pages are given back once the last view of them is dropped.
pub fn lend(mapping: &Arc<Mapping>, bytes: &Bytes, range: Range<usize>) -> Bytes {
    if range.len() < MIN_LENT_BYTES {
        return bytes.slice(range);
    }
    Bytes::from_owner(Lent {
        mapping: Arc::clone(mapping),
        range,
    })
}

struct Lent {
    mapping: Arc<Mapping>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.mapping.map[self.range.clone()]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        give_back(&self.mapping.map, &self.range);
    }
}

/// Gives pages back, whole windows of them. Whoever still looks at a neighbour finds it in the file again.
#[expect(
    unsafe_code,
    reason = "dropping pages is unsafe because those of no file would be lost; these are a file's"
)]
fn give_back(map: &Mmap, range: &Range<usize>) {
    let start = range.start / WINDOW_BYTES * WINDOW_BYTES;
    let end = range.end.next_multiple_of(WINDOW_BYTES).min(map.len());
    // SAFETY: the mapping is a read-only one of a file, so whoever reads a dropped page again gets the same bytes.
    // A system without such advice keeps the pages longer, and that is all.
    let _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start) };
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use super::*;
    use crate::shard::map::map_guarded;

    /// How many bytes of the mapping at an address are in memory, as the system has it.
    fn resident_bytes(address: usize) -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("this system tells");
        let start = format!("{address:x}-");
        let lines = maps.lines().skip_while(|line| !line.starts_with(&start));
        let rss = lines.skip(1).find_map(|line| line.strip_prefix("Rss:"));
        let kib = rss.and_then(|rss| rss.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok()).expect("a size") * 1024
    }

    fn sum(bytes: &[u8]) -> u64 {
        bytes.iter().map(|&byte| u64::from(byte)).sum()
    }

    #[test]
    fn pages_go_back_with_the_last_view_and_can_be_read_again() {
        const LEN: usize = 8 << 20;
        let mut file = tempfile::tempfile().expect("a file");
        let content: Vec<u8> = (0..LEN).map(|i| (i / 4096) as u8).collect();
        file.write_all(&content).expect("written");
        let mapped = map_guarded(Path::new("x"), &file).expect("mapped");
        let (bytes, mapping) = mapped.expect("not empty");
        let address = bytes.as_ptr().addr();
        let lent = lend(&mapping, &bytes, 100_000..LEN - 100_000);
        let view = lent.slice(5..);
        assert_eq!(sum(&lent), sum(&content[100_000..LEN - 100_000]));
        drop(lent);
        assert!(resident_bytes(address) > 4 << 20, "a view is left");
        drop(view);
        let left = resident_bytes(address);
        assert!(left <= 2 * WINDOW_BYTES as u64, "{left}");
        assert!(lend(&mapping, &bytes, 0..LEN) == content);
    }
}
