#![allow(unsafe_code, missing_docs)]
use bovw::kernel::grid::{Grid, PatchShape};
use bovw::kernel::image::PixelsRef;
use bovw::kernel::nearest::{Scratch, Simd, Words, search};
use bovw::kernel::normalize::{Normalize, Scaling};
use bovw::kernel::sample::Patches;
fn cpu() -> f64 {
    let mut t = [0i64; 2];
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") 228i64=>_, in("rdi") 3i64, in("rsi") t.as_mut_ptr(), out("rcx") _, out("r11") _);
    }
    t[0] as f64 + t[1] as f64 * 1e-9
}
fn main() {
    use std::io::Read;
    let mut raw = Vec::new();
    let f = std::fs::File::open("../shared/data/mnist/t10k-images-idx3-ubyte.gz").unwrap();
    flate2::read::GzDecoder::new(f)
        .read_to_end(&mut raw)
        .unwrap();
    let raw = &raw[16..];
    let patch = PatchShape {
        height: 6,
        width: 6,
    };
    let grid = Grid::new(28, 28, patch, 1).unwrap();
    let mut pos = Vec::new();
    grid.mark(0..grid.len(), &mut pos);
    let only: Option<Simd> = std::env::args().nth(1).map(|s| s.parse().unwrap());
    for k in std::env::args()
        .nth(2)
        .map_or(vec![50usize, 200, 1600], |k| vec![k.parse().unwrap()])
    {
        let (v, _) = bovw::shard::vocabulary::read(std::path::Path::new(&format!(
            "/tmp/o/k{k}/vocabulary.parquet"
        )))
        .unwrap();
        for simd in Simd::available().filter(|s| only.is_none_or(|o| o == *s)) {
            let words = Words::new(&v.centroids, patch, simd);
            let n = (if simd == Simd::Portable {
                50_000
            } else {
                500_000
            } / k)
                .min(10000);
            let mut best = f64::MAX;
            let mut again = 0;
            let mut scratch = Scratch::default();
            let mut counts = vec![0u32; k];
            for _ in 0..(if only.is_some() { 20 } else { 5 }) {
                again = 0;
                let s = cpu();
                for im in raw.chunks_exact(784).take(n) {
                    let pixels = PixelsRef::U8(im);
                    let p = Patches {
                        image: 0,
                        scaling: Scaling::of(Normalize::Image, pixels),
                        row_stride: 28,
                        positions: &pos,
                        pixels,
                    };
                    let f = search(&words, &p, &mut scratch);
                    again += f.decided_again;
                    f.count_into(&mut counts);
                }
                best = best.min(cpu() - s);
            }
            let m = n as f64 * 529.0 / 1e6;
            println!(
                "k={k} {simd}: {:.1} Mpatch/cpu-s, {:.0} cycles/patch at 4 GHz, again {:.3} %",
                m / best,
                best * 4e9 / m / 1e6,
                again as f64 / m / 1e4
            );
        }
    }
}
