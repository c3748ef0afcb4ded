//! Every input of the fuzz corpus, and every one that fuzzing found, goes the way that its target sends it: no panic, not
//! even one that is caught, and no error that does not name the file.

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

#[path = "../fuzz/src/targets.rs"]
#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "it is the fuzz targets' public module"
)]
mod targets;

/// Panics in bovw's own code, whoever caught them.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Inputs that come with the repository, and inputs that made trouble once.
const FOLDERS: [&str; 2] = ["corpus", "found"];

fn inputs(target: &str) -> Vec<PathBuf> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut files: Vec<PathBuf> = FOLDERS
        .iter()
        .filter_map(|folder| fs::read_dir(fuzz.join(folder).join(target)).ok())
        .flatten()
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

#[expect(clippy::print_stderr, reason = "an abort must tell which input it was")]
fn replay(target: &str) {
    note_panics();
    let dir = tempfile::tempdir().expect("a folder");
    let inputs = inputs(target);
    assert!(!inputs.is_empty(), "there are no inputs for {target}");
    for path in inputs {
        let bytes = fs::read(&path).expect("an input");
        eprintln!("{}", path.display());
        targets::give(target, dir.path(), &bytes);
        let panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(panics.is_empty(), "{}: {panics:?}", path.display());
    }
}

/// Lets panics of libraries pass in silence and notes our own.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if targets::is_ours(panic) {
                let mut panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
                panics.push(panic.to_string());
                print(panic);
            }
        }));
    });
}

#[test]
fn every_fuzz_program_gives_its_inputs_to_the_target_of_its_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    for (name, _) in targets::TARGETS {
        let program = fs::read_to_string(folder.join(format!("{name}.rs"))).expect("a program");
        assert!(program.contains(&format!("fuzz!({name});")), "{program}");
    }
    let n_programs = fs::read_dir(folder).expect("a folder").count();
    assert_eq!(n_programs, targets::TARGETS.len());
}

mod every_input_is_read_or_refused_by_name {
    macro_rules! replays {
        ($($target:ident)*) => {
            $(
                #[test]
                fn $target() {
                    super::replay(stringify!($target));
                }
            )*

            #[test]
            fn of_every_target() {
                let names = super::targets::TARGETS.map(|(name, _)| name);
                assert_eq!(names, [$(stringify!($target)),*]);
            }
        };
    }
    replays!(job shard image idx csv vocabulary manifest report tables evaluate stream sketch);
}
