//! The memory limit of the container that the process is in: Linux control groups, version 1 and 2.
//!
//! It reads the groups' files and nothing else; what follows from a limit is for the job to say. It must never fail:
//! where there are no such files, or they make no sense, there is no limit.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// A limit on the memory of a group of processes: heap, stacks and cached pages of files together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryLimit {
    /// The limit.
    pub bytes: u64,
    /// The file that says so.
    pub file: PathBuf,
}

/// Where control groups are mounted, as systemd and the container runtimes have it.
const MOUNT: &str = "/sys/fs/cgroup";

/// Larger numbers are version 1's way to say that there is no limit.
const MAX_LIMIT_BYTES: u64 = 1 << 60;

/// The lowest memory limit of the process's group and of those above it, if any has one.
pub fn memory_limit() -> Option<MemoryLimit> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    lowest_limit(&groups, Path::new(MOUNT))
}

/// The same, for a process with these lines in `/proc/self/cgroup`, below `mount`.
fn lowest_limit(groups: &str, mount: &Path) -> Option<MemoryLimit> {
    groups
        .lines()
        .filter_map(|line| {
            // hierarchy:controllers:path; version 2 has the hierarchy 0 and names no controllers.
            let mut parts = line.splitn(3, ':');
            Some((parts.next()?, parts.next()?, parts.next()?))
        })
        .flat_map(|(hierarchy, controllers, path)| {
            let trees: &[(&str, &str)] = match hierarchy {
                "0" if controllers.is_empty() => &[("", "memory.max"), ("unified", "memory.max")],
                _ if controllers.split(',').any(|name| name == "memory") => {
                    &[("memory", "memory.limit_in_bytes")]
                }
                _ => &[],
            };
            trees
                .iter()
                .flat_map(|(tree, file)| limits(&mount.join(tree), path, file))
                .collect::<Vec<MemoryLimit>>()
        })
        .min_by_key(|limit| limit.bytes)
}

/// The limits of a group and of those above it. A container may not see its own path, only its group as the root of the
/// mount; what is not there has no limit.
fn limits(root: &Path, group: &str, file: &str) -> Vec<MemoryLimit> {
    let group: PathBuf = Path::new(group)
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect();
    group
        .ancestors()
        .map(|above| root.join(above).join(file))
        .filter_map(|file| {
            let bytes = limit_bytes(&fs::read_to_string(&file).ok()?)?;
            Some(MemoryLimit { bytes, file })
        })
        .collect()
}

/// What a limit's file says: a number of bytes; `max`, or a huge number, is no limit.
fn limit_bytes(text: &str) -> Option<u64> {
    let bytes: u64 = text.trim().parse().ok()?;
    (bytes < MAX_LIMIT_BYTES).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limit that a process with these groups finds in a tree of these files.
    fn found(groups: &str, files: &[(&str, &str)]) -> Option<(u64, String)> {
        let mount = tempfile::tempdir().expect("a folder");
        for (file, text) in files {
            let file = mount.path().join(file);
            fs::create_dir_all(file.parent().expect("a parent")).expect("made");
            fs::write(file, text).expect("written");
        }
        let limit = lowest_limit(groups, mount.path())?;
        let file = limit.file.strip_prefix(mount.path()).expect("below");
        Some((limit.bytes, file.display().to_string()))
    }

    #[test]
    fn version_2_has_the_group_s_own_limit() {
        let files = [("a/b/memory.max", "1000\n"), ("a/memory.max", "max\n")];
        let limit = Some((1000, "a/b/memory.max".to_owned()));
        assert_eq!(found("0::/a/b\n", &files), limit);
    }

    #[test]
    fn a_lower_limit_above_the_group_holds_too() {
        let files = [("a/b/memory.max", "1000\n"), ("a/memory.max", "500\n")];
        let limit = Some((500, "a/memory.max".to_owned()));
        assert_eq!(found("0::/a/b\n", &files), limit);
    }

    #[test]
    fn version_1_has_a_tree_for_memory() {
        let groups = "9:name=systemd:/x\n4:cpu,memory:/a\n3:cpuset:/\n0::/\n";
        let files = [
            ("memory/a/memory.limit_in_bytes", "134217728\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        let limit = Some((128 << 20, "memory/a/memory.limit_in_bytes".to_owned()));
        assert_eq!(found(groups, &files), limit);
    }

    #[test]
    fn a_container_that_sees_its_group_as_the_root_finds_its_limit() {
        let v1 = [("memory/memory.limit_in_bytes", "1000")];
        let limit = |file: &str| Some((1000, file.to_owned()));
        assert_eq!(
            found("4:memory:/docker/0123\n", &v1),
            limit("memory/memory.limit_in_bytes")
        );
        let v2 = [("memory.max", "1000")];
        assert_eq!(found("0::/\n", &v2), limit("memory.max"));
        assert_eq!(found("0::/../../x\n", &v2), limit("memory.max"));
    }

    #[test]
    fn no_limit_and_nonsense_are_no_limit() {
        for text in [
            "max",
            "",
            "-1",
            "a lot",
            "9223372036854771712",
            "18446744073709551616",
        ] {
            assert_eq!(found("0::/a\n", &[("a/memory.max", text)]), None, "{text}");
        }
        for groups in ["", "0", "0::", "no lines of this kind", "4:memory:/a\n"] {
            assert_eq!(found(groups, &[]), None, "{groups}");
        }
        // A group of another tree says nothing of memory.
        assert_eq!(found("3:cpuset:/a\n", &[("a/memory.max", "1000")]), None);
    }
}
