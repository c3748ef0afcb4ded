//! What training promises, on small samples.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::lloyd::FIRST_PASS;
use super::*;
use crate::kernel::grid::{Grid, PatchShape};
use crate::kernel::image::Pixels;
use crate::kernel::kmeans::checkpoint::Next;
use crate::kernel::kmeans::seeding::bits_of;
use crate::kernel::kmeans::{DEFAULT_TOL, Init};
use crate::kernel::naive;
use crate::kernel::normalize::{Normalize, Scaling};
use crate::kernel::rng::{Purpose, Stream, hash, key};
use crate::kernel::sample::{IndexEntry, Record};

const PATCH: PatchShape = PatchShape {
    height: 3,
    width: 4,
    channels: 1,
};
const SIDE: u32 = 12;

/// A sample in memory.
struct Sample {
    words: Vec<u64>,
    index: Vec<IndexEntry>,
    normalize: Normalize,
}

impl Sample {
    /// Of `SIDE * SIDE` images, three quarters of the patches of each.
    fn of(images: &[Pixels], normalize: Normalize) -> Sample {
        let grid = Grid::new(SIDE, SIDE, PATCH, 1).expect("fits");
        let mut words = Vec::new();
        let mut at = IndexEntry::default();
        let mut index = vec![at];
        for (image, pixels) in images.iter().enumerate() {
            let mut order: Vec<usize> = (0..grid.len()).collect();
            let image_key = key(0, Purpose::SamplePatches, image as u64);
            order.sort_by_key(|&i| hash(image_key, i as u64));
            order.truncate(grid.len() * 3 / 4);
            order.sort_unstable();
            let offsets: Vec<u32> = order.iter().map(|&i| grid.offset(i) as u32).collect();
            let record = Record {
                image: image as u64,
                scaling: Scaling::of(normalize, pixels.as_ref()),
                row_stride: SIDE,
                offsets: &offsets,
                pixels: pixels.as_ref(),
            };
            at = at.append(&record, PATCH, &mut words);
            index.push(at);
        }
        Sample {
            words,
            index,
            normalize,
        }
    }

    fn view(&self) -> SampleView<'_> {
        SampleView::new(&self.words, &self.index, PATCH)
    }

    fn learn(&self, params: &KMeansParams, threads: usize, simd: Simd) -> Result<Learned> {
        self.learn_from(params, threads, simd, Checkpoint::default(), &Watch::SILENT)
    }

    fn learn_from(
        &self,
        params: &KMeansParams,
        threads: usize,
        simd: Simd,
        start: Checkpoint,
        watch: &Watch<'_>,
    ) -> Result<Learned> {
        let preparation = Preparation {
            patch: PATCH,
            normalize: self.normalize,
            whiten: None,
        };
        learn(
            &self.view(),
            preparation,
            params,
            threads,
            simd,
            start,
            watch,
        )
    }

    /// All patches, normalised, `n * d`.
    fn values(&self) -> Vec<f64> {
        let view = self.view();
        let mut all = Vec::new();
        for i in 0..view.n_records() {
            let record = view.record(i);
            for offset in record.offsets() {
                all.extend(naive::patch_values(
                    PATCH,
                    record.row_stride,
                    record.scaling,
                    record.pixels,
                    offset,
                ));
            }
        }
        all
    }
}

/// Images of `n_classes` kinds, kind after kind: gratings of growing frequency with noise, every ninth one blank.
fn images_by_class(n: usize, n_classes: usize) -> Vec<Pixels> {
    (0..n)
        .map(|image| {
            let class = image * n_classes / n;
            let mut stream = Stream::new(5, Purpose::Reseed, image as u64);
            if image % 9 == 8 {
                return Pixels::U8(vec![77; (SIDE * SIDE) as usize]);
            }
            let phase = stream.unit() * 6.0;
            let pixels = (0..SIDE * SIDE).map(|i| {
                let (y, x) = (f64::from(i / SIDE), f64::from(i % SIDE));
                let angle = class as f64;
                let along = x * angle.cos() + y * angle.sin();
                let wave = (along * (0.4 + 0.3 * class as f64) + phase).sin();
                (128.0 + 90.0 * wave + 20.0 * stream.unit()) as u8
            });
            Pixels::U8(pixels.collect())
        })
        .collect()
}

fn ordinary() -> Sample {
    Sample::of(&images_by_class(150, 4), Normalize::Image)
}

fn params(algorithm: Algorithm, k: usize) -> KMeansParams {
    KMeansParams {
        spherical: false,
        k,
        algorithm,
        init: Init::PlusPlus,
        n_init: 2,
        max_iter: 40,
        batch_size: Some(256),
        tol: DEFAULT_TOL,
        seed: 11,
    }
}

const BOTH: [Algorithm; 2] = [Algorithm::Lloyd, Algorithm::MiniBatch];

#[test]
fn words_are_the_same_bytes_for_any_number_of_threads_and_any_instruction_set() {
    for (sample, k, spherical) in [
        (ordinary(), 23, false),
        (many_outliers(), 40, false),
        (many_outliers(), 40, true),
    ] {
        words_are_the_same_bytes_however(&sample, k, spherical);
    }
}

fn words_are_the_same_bytes_however(sample: &Sample, k: usize, spherical: bool) {
    for algorithm in BOTH {
        let params = KMeansParams {
            spherical,
            ..params(algorithm, k)
        };
        let expected = sample.learn(&params, 1, Simd::Portable).expect("learns");
        for threads in [1, 2, 3, 7] {
            for simd in Simd::available() {
                let learned = sample.learn(&params, threads, simd).expect("learns");
                assert_eq!(learned, expected, "{algorithm:?} {threads} {simd:?}");
            }
        }
    }
}

#[test]
fn counts_and_inertia_are_those_of_brute_force_with_the_returned_words() {
    let sample = ordinary();
    let values = sample.values();
    for algorithm in BOTH {
        for init in [Init::PlusPlus, Init::Random] {
            let params = KMeansParams {
                init,
                ..params(algorithm, 17)
            };
            let vocabulary = sample
                .learn(&params, 2, Simd::detect())
                .expect("learns")
                .vocabulary;
            let mut counts = vec![0u64; 17];
            let mut inertia = vec![0.0; 17];
            for values in values.chunks_exact(PATCH.len()) {
                let (word, distance) = naive::nearest_word(values, &vocabulary.centroids);
                counts[word as usize] += 1;
                inertia[word as usize] += distance;
            }
            assert_eq!(vocabulary.counts, counts);
            assert!(counts.is_sorted_by(|a, b| a >= b));
            assert_eq!(counts.iter().sum::<u64>(), sample.view().n_patches());
            for (a, b) in vocabulary.inertia.iter().zip(&inertia) {
                assert!((a - b).abs() <= 1e-9 * b, "{a} {b}");
            }
        }
    }
}

fn with_training<T>(
    sample: &Sample,
    params: &KMeansParams,
    run: impl FnOnce(&Training<'_>) -> T,
) -> T {
    run(&Training {
        sample: &sample.view(),
        params,
        simd: Simd::detect(),
        watch: &Watch::SILENT,
    })
}

/// Mean over the whole sample.
fn inertia(training: &Training<'_>, words: &[f32]) -> f64 {
    let sums = training.all_sums(words).expect("sums");
    sums.inertia(words) / sums.n_patches() as f64
}

#[test]
fn a_pass_is_a_naive_lloyd_step() {
    let sample = ordinary();
    let params = params(Algorithm::Lloyd, 9);
    with_training(&sample, &params, |training| {
        let mut words = training.first_words(0).expect("words");
        let expected = naive::lloyd_step(&sample.values(), &words, PATCH.len());
        let n_blocks = sample.view().n_blocks();
        let sums = training
            .sums(&words, n_blocks, |block| block)
            .expect("sums");
        assert_eq!(sums.counts, expected.counts);
        let inertia = sums.inertia(&words);
        assert!((inertia - expected.inertia).abs() < 1e-9 * expected.inertia);
        sums.move_words(&mut words, |_, _| 1.0);
        for (a, b) in words.iter().zip(&expected.centroids) {
            assert!((a - b).abs() <= 1e-6, "{a} {b}");
        }
    });
}

fn starting(centroids: Vec<f32>, next: Next) -> Checkpoint {
    let it = UnderWay::new(0, centroids, RestartLog::default());
    Checkpoint {
        under_way: Some(UnderWay { next, ..it }),
        ..Checkpoint::default()
    }
}

/// Words after full passes, and the passes' log.
fn passed(
    training: &Training<'_>,
    restart: usize,
    tol: f64,
    words: Vec<f32>,
) -> (Vec<f32>, RestartLog) {
    let mut at = starting(words, FIRST_PASS);
    under_way(&mut at).restart = restart;
    training.full_passes(tol, &mut at).expect("passes");
    let it = at.under_way.expect("under way");
    (it.centroids, it.log)
}

#[test]
fn a_full_pass_never_raises_the_inertia() {
    let params = params(Algorithm::Lloyd, 12);
    with_training(&ordinary(), &params, |training| {
        for restart in 0..3 {
            let words = training.first_words(restart).expect("words");
            let (_, log) = passed(training, restart, 0.0, words);
            assert_eq!(log.reseeded, 0);
            assert!(log.n_steps > 3);
            for pair in log.inertia.windows(2) {
                assert!(pair[1] <= pair[0] * (1.0 + 1e-9), "{:?}", log.inertia);
            }
        }
    });
}

/// Images of four grey levels with a little noise: four clusters of patches, far apart.
fn four_clusters() -> Sample {
    let images: Vec<Pixels> = (0..40)
        .map(|image| {
            let level = [20, 60, 140, 240][image % 4];
            let mut stream = Stream::new(9, Purpose::Reseed, image as u64);
            let pixels = (0..SIDE * SIDE).map(|_| level + stream.below(5) as u8);
            Pixels::U8(pixels.collect())
        })
        .collect();
    Sample::of(&images, Normalize::None)
}

#[test]
fn breathing_finds_the_cluster_that_has_no_word_where_lloyd_is_stuck() {
    let params = KMeansParams {
        max_iter: 300,
        ..params(Algorithm::Lloyd, 4)
    };
    with_training(&four_clusters(), &params, |training| {
        // One word between the first two clusters, two words on the last.
        let words: Vec<f32> = [40.0, 142.0, 241.0, 243.0]
            .iter()
            .flat_map(|&level| vec![level; PATCH.len()])
            .collect();
        let (stuck, _) = passed(training, 0, 0.0, words.clone());
        let stuck = inertia(training, &stuck);
        let mut at = starting(words, Next::Breathe);
        training.lloyd(&mut at).expect("trains");
        let words = at.under_way.expect("under way").centroids;
        let sums = training.all_sums(&words).expect("sums");
        // The variance of five levels is 2.
        assert!(stuck > 1000.0, "{stuck}");
        assert!(inertia(training, &words) < 2.1 * PATCH.len() as f64);
        assert!(sums.counts.iter().all(|&count| count == 10 * 67));
    });
}

#[test]
fn breathing_never_raises_the_inertia() {
    for seed in 0..6 {
        let params = KMeansParams {
            seed,
            max_iter: 300,
            ..params(Algorithm::Lloyd, 5 + 4 * seed as usize)
        };
        with_training(&ordinary(), &params, |training| {
            let part = training.lloyd_part();
            assert!(training.breathes_on(part));
            let words = training.first_words(0).expect("words");
            let (words, log) = passed(training, 0, 1e-4, words);
            let before = inertia(training, &words);
            let mut at = starting(words, Next::Breathe);
            under_way(&mut at).log = log;
            training
                .breathe(part, 12, Next::Nothing, &mut at)
                .expect("breathes");
            let UnderWay {
                centroids: words,
                log,
                ..
            } = at.under_way.expect("under way");
            let after = inertia(training, &words);
            assert!(after <= before, "{after} {before}");
            assert_eq!(words.len(), params.k * PATCH.len());
            assert!(log.passes <= params.max_iter as f64 + 1e-9);
            assert_eq!(log.n_steps, log.inertia.len());
        });
    }
}

#[test]
fn many_words_for_few_patches_do_not_breathe() {
    let params = params(Algorithm::Lloyd, 200);
    with_training(&ordinary(), &params, |training| {
        assert!(!training.breathes_on(training.lloyd_part()));
    });
}

#[test]
fn the_restart_with_the_lowest_inertia_on_the_same_patches_is_trained_on() {
    let params = KMeansParams {
        n_init: 4,
        ..params(Algorithm::Lloyd, 8)
    };
    let sample = ordinary();
    let learned = sample.learn(&params, 2, Simd::detect()).expect("learns");
    assert_eq!(learned.restarts.len(), 4);
    let judged: Vec<f64> = with_training(&sample, &params, |training| {
        let restarts = (0..4).map(|restart| training.restart(restart).expect("trains").0);
        let inertia = |words: Vec<f32>| training.part_inertia(training.judging_part(), &words);
        restarts
            .map(|words| inertia(words).expect("a pass"))
            .collect()
    });
    let best = (0..4)
        .min_by(|&a, &b| judged[a].total_cmp(&judged[b]))
        .expect("some");
    for (restart, log) in learned.restarts.iter().enumerate() {
        if restart == best {
            let last = learned.vocabulary.inertia_per_patch();
            assert!((log.final_inertia - last).abs() < 1e-9 * last);
            assert!(log.converged);
        } else {
            assert_eq!(log.final_inertia.to_bits(), judged[restart].to_bits());
        }
    }
}

/// Noise up to `noise`, and in the corner of every so many images a value of `corner`: a patch each that is like no other.
fn outliers(every: usize, noise: u64, corner: u8) -> Sample {
    let images: Vec<Pixels> = (0..60)
        .map(|image| {
            let mut stream = Stream::new(3, Purpose::Reseed, image as u64);
            let mut pixels: Vec<u8> = (0..SIDE * SIDE)
                .map(|_| stream.below(noise) as u8)
                .collect();
            // What is the same all over is no place for two words.
            if image % 5 == 3 {
                pixels.fill(2);
            }
            if image % every == 4 {
                pixels[0] = corner;
            }
            Pixels::U8(pixels)
        })
        .collect();
    Sample::of(&images, Normalize::None)
}

fn many_outliers() -> Sample {
    outliers(5, 40, 140)
}

/// Words, of which the first two are outliers.
fn words_on_outliers(sample: &Sample, corner: u8) -> Vec<f32> {
    let values = sample.values();
    let (outlying, ordinary): (Vec<&[f64]>, Vec<&[f64]>) = values
        .chunks_exact(PATCH.len())
        .partition(|values| values.contains(&f64::from(corner)));
    assert!(outlying.len() >= 2, "{} are in the sample", outlying.len());
    let words = outlying.iter().take(2).chain(ordinary.iter().step_by(400));
    let words = words.copied().flatten();
    words.map(|&value| value as f32).collect()
}

fn least_count(training: &Training<'_>, words: &[f32]) -> u64 {
    let sums = training.all_sums(words).expect("sums");
    sums.counts.into_iter().min().expect("words")
}

/// Inertia and least count of words, two of which are outliers, before and after lone ones were moved, and the log.
fn moved_lone(noise: u64, corner: u8, max_iter: usize) -> ([(f64, u64); 2], RestartLog) {
    let sample = outliers(30, noise, corner);
    let words = words_on_outliers(&sample, corner);
    let params = KMeansParams {
        max_iter,
        ..params(Algorithm::MiniBatch, words.len() / PATCH.len())
    };
    with_training(&sample, &params, |training| {
        let (before, _) = passed(training, 0, 1e-4, words);
        let mut words = before.clone();
        let whole = training.part(training.sample.n_blocks());
        let mut log = RestartLog::default();
        training
            .move_lone(0, whole, &mut words, &mut log)
            .expect("moves");
        let judged =
            [before, words].map(|words| (inertia(training, &words), least_count(training, &words)));
        (judged, log)
    })
}

#[test]
fn a_word_that_keeps_an_outlier_alone_goes_to_where_patches_are() {
    let ([(before, alone), (after, least)], log) = moved_lone(40, 90, 300);
    assert_eq!(alone, 1, "no step moves it");
    assert!(least > 20, "{least}");
    assert!(after < before, "{after} {before}");
    assert!(log.reseeded >= 2, "{log:?}");
}

#[test]
fn a_word_that_keeps_an_outlier_alone_stays_where_that_is_worth_more() {
    let ([(before, alone), (after, still_alone)], log) = moved_lone(6, 255, 300);
    assert_eq!((alone, still_alone), (1, 1));
    assert_eq!((after, log.reseeded), (before, 0));
}

#[test]
fn moving_lone_words_leaves_half_of_the_passes() {
    for max_iter in 1..60 {
        let (_, log) = moved_lone(40, 90, max_iter);
        let most = max_iter as f64 / 2.0;
        assert!(log.passes <= most + 1e-9, "{} of {max_iter}", log.passes);
    }
}

#[test]
fn a_restart_ends_without_lone_words() {
    let sample = outliers(30, 40, 90);
    let first = words_on_outliers(&sample, 90);
    for algorithm in BOTH {
        let params = KMeansParams {
            batch_size: None,
            max_iter: 300,
            ..params(algorithm, first.len() / PATCH.len())
        };
        with_training(&sample, &params, |training| {
            let (mut words, mut log) = (first.clone(), RestartLog::default());
            match algorithm {
                Algorithm::Lloyd => training.lloyd_restart(0, &mut words, &mut log),
                Algorithm::MiniBatch => training.mini_batch_restart(0, &mut words, &mut log),
            }
            .expect("trains");
            let least = least_count(training, &words);
            assert!(least > 20, "{algorithm:?}: {least}");
        });
    }
}

#[test]
fn lone_words_find_no_place_where_all_patches_are_words() {
    let images = [10, 200].map(|level| Pixels::U8(vec![level; (SIDE * SIDE) as usize]));
    let sample = Sample::of(&images, Normalize::None);
    let words: Vec<f32> = [10.0, 200.0, 90.0]
        .iter()
        .flat_map(|&level| vec![level; PATCH.len()])
        .collect();
    with_training(&sample, &params(Algorithm::MiniBatch, 3), |training| {
        let (mut after, mut log) = (words.clone(), RestartLog::default());
        let whole = training.part(training.sample.n_blocks());
        training
            .move_lone(0, whole, &mut after, &mut log)
            .expect("moves");
        assert_eq!((after, log.reseeded), (words.clone(), 0));
    });
}

#[test]
fn words_that_died_are_seeded_anew() {
    let sample = ordinary();
    for algorithm in BOTH {
        let params = params(algorithm, 10);
        with_training(&sample, &params, |training| {
            let mut words = training.first_words(0).expect("words");
            let d = PATCH.len();
            // Far from every patch, and a double.
            words[3 * d..4 * d].fill(1e6);
            words.copy_within(..d, 7 * d);
            let mut at = starting(words, Next::Breathe);
            training.train(&mut at).expect("trains");
            let it = at.under_way.expect("under way");
            let (words, log) = (it.centroids, it.log);
            assert!(log.reseeded >= 2, "{algorithm:?}");
            let sums = training.all_sums(&words).expect("sums");
            assert!(sums.empty_words().is_empty(), "{algorithm:?}");
        });
    }
}

#[test]
fn no_word_is_empty_or_doubled_even_where_patches_hardly_differ() {
    // A few grey levels without normalisation: many equal patches, exact ties between words.
    let images: Vec<Pixels> = (0..12)
        .map(|image| {
            let mut stream = Stream::new(6, Purpose::Reseed, image);
            let pixels = (0..SIDE * SIDE).map(|_| u8::from(stream.below(14) == 0));
            Pixels::U8(pixels.collect())
        })
        .collect();
    let sample = Sample::of(&images, Normalize::None);
    let distinct: HashSet<Vec<u64>> = sample
        .values()
        .chunks_exact(PATCH.len())
        .map(|values| values.iter().map(|value| value.to_bits()).collect())
        .collect();
    for algorithm in BOTH {
        for k in [distinct.len() / 2, distinct.len() - 3, distinct.len()] {
            let vocabulary = sample
                .learn(&params(algorithm, k), 2, Simd::detect())
                .expect("learns")
                .vocabulary;
            assert!(vocabulary.counts.iter().all(|&count| count > 0));
            let words: HashSet<Box<[u32]>> = vocabulary
                .centroids
                .chunks_exact(PATCH.len())
                .map(bits_of)
                .collect();
            assert_eq!(words.len(), k, "{algorithm:?}");
        }
    }
}

#[test]
fn fewer_different_patches_than_words_is_a_setting_error_with_the_number() {
    let pixels = Pixels::U8(vec![9; (SIDE * SIDE) as usize]);
    let sample = Sample::of(&[pixels], Normalize::None);
    let error = sample
        .learn(&params(Algorithm::Lloyd, 2), 1, Simd::detect())
        .expect_err("one different patch");
    assert!(matches!(
        error,
        Error::Setting {
            key: "vocabulary.k",
            ..
        }
    ));
    assert!(error.to_string().contains("only 1 differ"), "{error}");
}

#[test]
fn more_words_than_patches_is_a_setting_error_with_both_numbers() {
    let sample = Sample::of(&images_by_class(1, 1), Normalize::Image);
    let error = sample
        .learn(&params(Algorithm::MiniBatch, 1000), 1, Simd::detect())
        .expect_err("too few");
    assert!(matches!(
        error,
        Error::Setting {
            key: "vocabulary.k",
            ..
        }
    ));
    let text = error.to_string();
    assert!(
        text.contains("1000 words") && text.contains("67 sampled"),
        "{text}"
    );
}

#[test]
fn mini_batches_do_not_follow_the_order_of_records() {
    // A single epoch of small batches: had they followed the order, the last class alone would shape the words.
    let sorted = images_by_class(400, 4);
    let mut shuffled = sorted.clone();
    let mut stream = Stream::new(8, Purpose::Reseed, 0);
    for i in (1..shuffled.len()).rev() {
        shuffled.swap(i, stream.below(i as u64 + 1) as usize);
    }
    let inertia = |images: &[Pixels]| {
        let params = KMeansParams {
            max_iter: 1,
            n_init: 3,
            ..params(Algorithm::MiniBatch, 12)
        };
        let learned = Sample::of(images, Normalize::Image).learn(&params, 2, Simd::detect());
        learned.expect("learns").vocabulary.inertia_per_patch()
    };
    let (sorted, shuffled) = (inertia(&sorted), inertia(&shuffled));
    assert!(sorted < 1.05 * shuffled, "{sorted} {shuffled}");
}

#[test]
fn training_stops_when_asked() {
    let sample = ordinary();
    let watch = Watch {
        stop: &|| true,
        ..Watch::SILENT
    };
    let params = params(Algorithm::MiniBatch, 5);
    let start = Checkpoint::default();
    let result = sample.learn_from(&params, 2, Simd::detect(), start, &watch);
    assert!(matches!(result, Err(Error::Interrupted)));
}

#[test]
fn one_word_is_the_mean_of_all_patches() {
    let sample = ordinary();
    let vocabulary = sample
        .learn(&params(Algorithm::Lloyd, 1), 2, Simd::detect())
        .expect("learns")
        .vocabulary;
    let values = sample.values();
    let n = values.len() / PATCH.len();
    for (i, &centre) in vocabulary.centroids.iter().enumerate() {
        let mean = values.iter().skip(i).step_by(PATCH.len()).sum::<f64>() / n as f64;
        assert!((f64::from(centre) - mean).abs() < 1e-6);
    }
}

/// Trains with a checkpoint between all steps; gives them, and what was learned.
fn with_checkpoints(
    sample: &Sample,
    params: &KMeansParams,
    start: Checkpoint,
) -> (Vec<Checkpoint>, Learned) {
    let kept = Mutex::new(Vec::new());
    let watch = Watch {
        is_due: &|| true,
        keep: &|at| {
            kept.lock().expect("not poisoned").push(at.clone());
            Ok(())
        },
        ..Watch::SILENT
    };
    let learned = sample.learn_from(params, 2, Simd::detect(), start, &watch);
    let kept = kept.into_inner().expect("not poisoned");
    (kept, learned.expect("learns"))
}

#[test]
fn training_goes_on_from_every_checkpoint_to_the_same_bytes() {
    for sample in [ordinary(), many_outliers()] {
        it_goes_on_from_every_checkpoint(&sample);
    }
}

fn it_goes_on_from_every_checkpoint(sample: &Sample) {
    for algorithm in BOTH {
        // Restarts that are judged on a part, on all of the sample, and alone; few passes, and many words.
        for (k, n_init, max_iter) in [(5, 3, 300), (30, 3, 300), (8, 1, 40), (60, 2, 6)] {
            let params = KMeansParams {
                n_init,
                max_iter,
                ..params(algorithm, k)
            };
            let (kept, expected) = with_checkpoints(sample, &params, Checkpoint::default());
            assert!(kept.len() > n_init, "{} checkpoints", kept.len());
            for start in kept {
                let (_, learned) = with_checkpoints(sample, &params, start.clone());
                assert_eq!(learned, expected, "{algorithm:?}, k = {k}: {start:?}");
            }
        }
    }
}

#[test]
fn an_interrupted_training_keeps_a_checkpoint_to_go_on_from_wherever_it_was() {
    let sample = ordinary();
    for algorithm in [Algorithm::Lloyd, Algorithm::MiniBatch] {
        let params = KMeansParams {
            n_init: 3,
            max_iter: 300,
            ..params(algorithm, 5)
        };
        let (_, expected) = with_checkpoints(&sample, &params, Checkpoint::default());
        for after in (1..4000).step_by(173) {
            let (asked, kept) = (AtomicUsize::new(0), Mutex::new(None));
            let watch = Watch {
                stop: &|| asked.fetch_add(1, Relaxed) >= after,
                keep: &|at| {
                    *kept.lock().expect("not poisoned") = Some(at.clone());
                    Ok(())
                },
                ..Watch::SILENT
            };
            let start = Checkpoint::default();
            match sample.learn_from(&params, 2, Simd::detect(), start, &watch) {
                // It was over before.
                Ok(learned) => assert_eq!(learned, expected),
                Err(Error::Interrupted) => {
                    let kept = kept.into_inner().expect("not poisoned");
                    // Before anything was done there is nothing to keep.
                    let start = kept.unwrap_or_default();
                    let (_, learned) = with_checkpoints(&sample, &params, start);
                    assert_eq!(learned, expected, "stopped at question {after}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
