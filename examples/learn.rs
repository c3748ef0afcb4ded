#![allow(unsafe_code, missing_docs)]
use bovw::kernel::grid::{Grid, PatchShape};
use bovw::kernel::image::PixelsRef;
use bovw::kernel::kmeans::*;
use bovw::kernel::nearest::Simd;
use bovw::kernel::normalize::{Normalize, Scaling};
use bovw::kernel::sample::*;
use bovw::kernel::vocabulary::Preparation;
use bovw::stages::kmeans::{Watch, learn};
fn cpu(id: i64) -> f64 {
    let mut t = [0i64; 2];
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") 228i64=>_, in("rdi") id, in("rsi") t.as_mut_ptr(), out("rcx") _, out("r11") _);
    }
    t[0] as f64 + t[1] as f64 * 1e-9
}
// args: algorithm n_images n_init threads k
fn main() {
    use std::io::Read;
    let a: Vec<String> = std::env::args().collect();
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
    let (mut words, mut index, mut at) =
        (vec![], vec![IndexEntry::default()], IndexEntry::default());
    for (i, im) in raw
        .chunks_exact(784)
        .take(a[2].parse().unwrap())
        .enumerate()
    {
        let offsets: Vec<u32> = (0..529)
            .filter(|&p| bovw::kernel::rng::hash(i as u64, p) % 4 != 0)
            .map(|p| grid.offset(p as usize) as u32)
            .collect();
        let pixels = PixelsRef::U8(im);
        let r = Record {
            image: i as u64,
            scaling: Scaling::of(Normalize::Image, pixels),
            row_stride: 28,
            offsets: &offsets,
            pixels,
        };
        at = at.append(&r, patch, &mut words);
        index.push(at);
    }
    let view = SampleView::new(&words, &index, patch);
    for seed in 0..a.get(6).map_or(1, |s| s.parse().unwrap()) {
        let params = KMeansParams {
            k: a[5].parse().unwrap(),
            algorithm: if a[1] == "lloyd" {
                Algorithm::Lloyd
            } else {
                Algorithm::MiniBatch
            },
            init: Init::PlusPlus,
            n_init: a[3].parse().unwrap(),
            max_iter: 300,
            batch_size: None,
            tol: DEFAULT_TOL,
            seed,
        };
        let (c, w) = (cpu(2), cpu(1));
        let l = learn(
            &view,
            Preparation {
                patch,
                normalize: Normalize::Image,
            },
            &params,
            a[4].parse().unwrap(),
            Simd::detect(),
            &Watch::SILENT,
        )
        .unwrap();
        println!(
            "{} patches, inertia {:.4}, cpu {:.3} s, wall {:.3} s; passes {:?} finals {:?}",
            view.n_patches(),
            l.vocabulary.inertia_per_patch(),
            cpu(2) - c,
            cpu(1) - w,
            l.restarts
                .iter()
                .map(|r| (r.passes * 10.0).round() / 10.0)
                .collect::<Vec<_>>(),
            l.restarts
                .iter()
                .map(|r| (r.final_inertia * 1e3).round() / 1e3)
                .collect::<Vec<_>>()
        );
    }
}
