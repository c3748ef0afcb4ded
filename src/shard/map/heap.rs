//! Large blocks of the heap: mapped each for itself, so that they go back to the system when they are freed.
//!
//! Left alone, glibc learns from the first large block that is freed, and keeps those that follow: up to 64 MiB for each
//! thread that has ever read a large page, which no memory plan can know. It changes the whole process, so it is done
//! only once a file needs it; small blocks are not touched.

/// From this size on a block is mapped. Common pages are smaller, and stay where they are reused at once.
const MAPPED_BYTES: libc::c_int = 2 << 20;

/// Pages that take more than this to read are large.
const LARGE_PAGES_BYTES: u64 = 8 << 20;

/// To be called before pages are read that take so many bytes.
pub fn expect_pages(heap_bytes: u64) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    if heap_bytes > LARGE_PAGES_BYTES {
        ONCE.call_once(map_large_blocks);
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the allocator is set by a call of the system")]
fn map_large_blocks() {
    // SAFETY: two numbers for the allocator, which takes its own lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, MAPPED_BYTES);
    }
}

/// Other allocators give large blocks back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn map_large_blocks() {}
