//! Instruction sets: which there are, which this machine has.

use std::fmt;
use std::str::FromStr;

/// Instruction sets that the search is compiled for, slowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simd {
    /// Whatever the target guarantees.
    Portable,
    /// Arm's NEON.
    Neon,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F and BW.
    Avx512,
    /// AVX-512 with VNNI.
    Vnni,
}

impl Simd {
    /// All of them, slowest first.
    pub const ALL: [Simd; 5] = [
        Simd::Portable,
        Simd::Neon,
        Simd::Avx2,
        Simd::Avx512,
        Simd::Vnni,
    ];

    /// The best that this machine has.
    pub fn detect() -> Simd {
        Simd::available().last().unwrap_or(Simd::Portable)
    }

    /// All that this machine has, slowest first.
    pub fn available() -> impl Iterator<Item = Simd> {
        Simd::ALL.into_iter().filter(|simd| simd.is_available())
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            Simd::Portable => true,
            Simd::Neon => cfg!(all(target_arch = "aarch64", target_feature = "neon")),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => {
                Simd::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
            }
            #[cfg(target_arch = "x86_64")]
            Simd::Vnni => Simd::Avx512.is_available() && is_x86_feature_detected!("avx512vnni"),
            #[cfg(not(target_arch = "x86_64"))]
            Simd::Avx2 | Simd::Avx512 | Simd::Vnni => false,
        }
    }

    /// Its name in a job.
    pub fn name(self) -> &'static str {
        match self {
            Simd::Portable => "portable",
            Simd::Neon => "neon",
            Simd::Avx2 => "avx2",
            Simd::Avx512 => "avx512",
            Simd::Vnni => "vnni",
        }
    }
}

/// Work that is compiled for each instruction set; its arithmetic is the same for all.
pub trait Work {
    /// What it gives.
    type Output;

    /// Does it; always inlined, or it is compiled for none.
    fn work(self) -> Self::Output;
}

impl Simd {
    /// Does `work` with the instructions of this set.
    ///
    /// # Panics
    /// If this machine does not have it.
    #[cfg_attr(
        target_arch = "x86_64",
        expect(unsafe_code, reason = "calls code compiled for what the machine has")
    )]
    pub fn run<W: Work>(self, work: W) -> W::Output {
        assert!(self.is_available(), "no {self} here");
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: asserted above.
            Simd::Avx512 | Simd::Vnni => unsafe { run_avx512(work) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: asserted above.
            Simd::Avx2 => unsafe { run_avx2(work) },
            _ => work.work(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
fn run_avx512<W: Work>(work: W) -> W::Output {
    work.work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<W: Work>(work: W) -> W::Output {
    work.work()
}

impl fmt::Display for Simd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Simd {
    type Err = ();

    fn from_str(name: &str) -> Result<Simd, ()> {
        Simd::ALL
            .into_iter()
            .find(|simd| simd.name() == name)
            .ok_or(())
    }
}
