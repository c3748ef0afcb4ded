//! The architecture as a test: which module may use which, who may print, who may be unsafe, how files begin.
//!
//! One crate gives the compiler no layers; this gives `cargo test` the same say.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules of the library, with the layer they are on. A module may use its own kind and whatever is on a lower layer;
/// two modules on one layer never see each other, except where `SIDEWAYS` says so.
const LAYERS: [(&str, u32); 12] = [
    ("container", 0),
    ("error", 0),
    ("kernel", 0),
    ("job", 1),
    ("shard", 2),
    ("flow", 2),
    ("import", 3),
    ("report", 3),
    ("stages", 3),
    ("synth", 3),
    ("passes", 4),
    ("guest", 5),
];

/// Uses on one layer that are allowed: from, to.
const SIDEWAYS: [(&str, &str); 1] = [
    // Synthetic images are written as imported ones are.
    ("synth", "import"),
];

/// Files that may hold `unsafe`: mapping, and calls of functions compiled for an instruction set.
const MAY_BE_UNSAFE: [&str; 9] = [
    "shard/map.rs",
    "shard/map/guard.rs",
    "shard/map/heap.rs",
    "shard/map/lent.rs",
    "kernel/nearest/float.rs",
    "kernel/nearest/neon.rs",
    "kernel/nearest/simd.rs",
    "kernel/nearest/whole.rs",
    "kernel/nearest/x86.rs",
];

/// Packages, and the modules (or files) that may name them.
const PACKAGES: [(&str, &[&str]); 19] = [
    ("libc", &["shard/map/"]),
    ("memmap2", &["shard/map", "shard/spill.rs"]),
    ("parquet", &["shard/", "import/", "cli/inspect.rs"]),
    ("arrow", &["shard/", "import/", "stages/", "guest/"]),
    ("image", &["shard/", "import/", "report/"]),
    ("askama", &["report/"]),
    ("base64", &["report/tile.rs", "shard/vocabulary.rs"]),
    ("png", &["report/paint.rs"]),
    ("resvg", &["report/paint.rs"]),
    ("crossbeam_channel", &["flow/sync.rs"]),
    (
        "rayon",
        &[
            "stages/kmeans",
            "stages/prepare.rs",
            "stages/threads.rs",
            "guest/",
        ],
    ),
    ("nalgebra", &["kernel/whiten.rs"]),
    ("toml", &["job/"]),
    ("clap", &["cli/", "main.rs"]),
    ("indicatif", &["cli/"]),
    ("signal_hook", &["cli/process.rs"]),
    ("peakmem_alloc", &["cli/process.rs"]),
    ("rand_xoshiro", &["kernel/rng.rs"]),
    ("postcard", &["shard/checkpoint.rs"]),
];

#[test]
fn modules_use_only_what_is_below_them() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let Some(&(module, layer)) = LAYERS.iter().find(|(name, _)| module_of(&path) == *name)
        else {
            continue;
        };
        for used in crate_paths(&text) {
            let Some(&(other, other_layer)) = LAYERS.iter().find(|(name, _)| *name == used) else {
                continue;
            };
            let is_allowed =
                other == module || other_layer < layer || SIDEWAYS.contains(&(module, other));
            if !is_allowed {
                wrong.push(format!(
                    "{path} (layer {layer}) uses {other} (layer {other_layer})"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    let lib = fs::read_to_string(source_dir().join("lib.rs")).expect("lib.rs");
    let modules = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    for module in modules {
        assert!(
            LAYERS.iter().any(|(name, _)| *name == module),
            "{module} is in no layer"
        );
    }
}

#[test]
fn the_kernel_knows_no_files_threads_or_clocks() {
    const FORBIDDEN: [&str; 7] = [
        "std::fs",
        "std::io",
        "std::thread",
        "std::time",
        "std::sync",
        "std::env",
        "crate::error",
    ];
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        // A test may be slower, louder and dirtier than what it tests.
        let production = text.split("#[cfg(test)]").next().unwrap_or_default();
        let is_checked = path.starts_with("kernel/") && !path.ends_with("/tests.rs");
        for name in FORBIDDEN
            .iter()
            .filter(|name| is_checked && production.contains(**name))
        {
            wrong.push(format!("{path} names {name}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn packages_stay_in_their_homes() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        for (package, homes) in PACKAGES {
            let is_named = text.lines().any(|line| {
                let line = line.trim_start();
                !line.starts_with("//")
                    && (line.starts_with(&format!("use {package}::"))
                        || line.match_indices(&format!("{package}::")).any(|(at, _)| {
                            !line[..at]
                                .ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                        }))
            });
            // `crate::image` and `super::image` are modules of ours.
            if is_named && !homes.iter().any(|home| path.starts_with(home)) {
                wrong.push(format!("{path} names {package}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What `tests/schedules` cannot put another in the place of, it cannot try.
#[test]
fn the_runtime_takes_its_locks_and_threads_from_one_file() {
    // Counters decide nothing; tests run on real threads.
    const EXEMPT: [&str; 3] = ["flow/sync.rs", "flow/stats.rs", "flow/tests.rs"];
    for (path, text) in sources() {
        if !path.starts_with("flow/") || EXEMPT.contains(&path.as_str()) {
            continue;
        }
        let text = text.replace("std::sync::atomic::Ordering", "");
        for name in ["std::sync", "std::thread"] {
            assert!(!text.contains(name), "{path} names {name}");
        }
    }
}

#[test]
fn unsafe_stands_only_where_it_may() {
    for (path, text) in sources() {
        let has_unsafe = text
            .lines()
            .any(|line| !line.trim_start().starts_with("//") && line.contains("unsafe {"));
        assert!(
            !has_unsafe || MAY_BE_UNSAFE.contains(&path.as_str()),
            "{path} has unsafe code"
        );
    }
}

#[test]
fn only_the_command_line_prints() {
    for (path, text) in sources() {
        let is_command_line = path.starts_with("cli/") || path == "main.rs";
        let prints = ["println!", "print!(", "stdout()", "stderr()"]
            .iter()
            .any(|name| text.contains(name));
        assert!(is_command_line || !prints, "{path} prints");
    }
}

#[test]
fn no_channel_is_unbounded() {
    for (path, text) in sources() {
        assert!(
            !text.contains("unbounded"),
            "{path} has an unbounded channel"
        );
        assert!(
            !text.contains("mpsc::channel"),
            "{path} has an unbounded channel"
        );
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, text) in sources() {
        assert!(
            text.starts_with("//! "),
            "{path} does not begin with what it is for"
        );
    }
}

fn source_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file: its path below `src` and its text.
fn sources() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = walkdir::WalkDir::new(source_dir())
        .into_iter()
        .map(|entry| entry.expect("src can be walked"))
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|ending| ending == "rs")
        })
        .map(|entry| {
            let path = entry.path().strip_prefix(source_dir()).expect("below src");
            let text = fs::read_to_string(entry.path()).expect("a source file");
            (path.display().to_string(), text)
        })
        .collect();
    files.sort();
    assert!(files.len() > 40, "src was not found");
    files
}

/// First part of a path: the module that a file belongs to.
fn module_of(path: &str) -> &str {
    let first = path.split('/').next().unwrap_or(path);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Modules that a text names as `crate::MODULE`, also in braces.
fn crate_paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default(),
            None => rest
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default(),
        };
        found.extend(names.split(',').map(|name| {
            name.trim()
                .split("::")
                .next()
                .unwrap_or_default()
                .to_owned()
        }));
    }
    found
}
