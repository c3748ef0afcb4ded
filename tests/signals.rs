//! Signals, and whatever else ends a run in the middle, with real processes: the command that is printed goes on to the
//! same bytes, a second signal ends at once, two runs never share a directory, and no error leaves half a file.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bovw::kernel::rng::{Purpose, Stream};
use image::GrayImage;

use common::{Scene, Shard, picture};

/// A job of about a second, most of it k-means.
const JOB: [&str; 7] = [
    "vocabulary.k=64",
    "vocabulary.algorithm=\"lloyd\"",
    "vocabulary.n_init=3",
    "vocabulary.tol=0.0",
    "vocabulary.max_iter=30",
    "sample.per_image=200",
    "cluster=[{of=\"features\", k=5, n_init=3}]",
];

/// A job whose k-means takes longer than any test waits.
const SLOW: [&str; 4] = [
    "vocabulary.k=2000",
    "vocabulary.algorithm=\"lloyd\"",
    "sample.per_image=2000",
    "run.memory=\"256MiB\"",
];

/// What a command that is told to stop, and does, takes at most on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

fn with_shards(scene: Scene) -> Scene {
    (0..4).fold(scene, |scene, shard| {
        let pictures: Vec<GrayImage> = (0..100).map(|i| picture(shard * 100 + i, 60, 60)).collect();
        scene.and(&format!("data/{shard}.parquet"), &Shard::raw(&pictures))
    })
}

/// A folder's name that a shell, TOML and a glob would each take otherwise.
const STRANGE: &str = "it's a \"Größe\" $HOME & `x` [1] *";

fn command(scene: &Scene, sets: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("bovw"));
    command
        .args(scene.run_args(sets))
        .args(["--progress", "none"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn signal(child: &Child, signal: &str) {
    let sent = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until a run has its directory and has begun.
fn wait_for_state(scene: &Scene) {
    let start = Instant::now();
    while !scene.path("out/.bovw-state.json").exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "no run began");
        sleep(Duration::from_millis(2));
    }
}

/// The command that an interrupted run printed.
fn printed_command(output: &Output) -> String {
    let stderr = stderr(output);
    let command = stderr.split_once("interrupted; continue with: ");
    let command = command.unwrap_or_else(|| panic!("{stderr}")).1;
    command.trim_end().to_owned()
}

fn shell(command: &str) -> Output {
    Command::new("sh").args(["-c", command]).output().unwrap()
}

fn undisturbed(sets: &[&str]) -> (BTreeMap<String, Vec<u8>>, Duration) {
    let scene = with_shards(Scene::new());
    let start = Instant::now();
    scene.run(sets).ok();
    (scene.results("out"), start.elapsed())
}

fn assert_no_leftovers(scene: &Scene) {
    let names = scene.files("out").into_keys();
    let left: Vec<String> = names
        .filter(|name| name.contains(".bovw-") && name != ".bovw-lock")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_printed_command_goes_on_to_the_same_bytes_whenever_a_run_is_interrupted() {
    let (expected, duration) = undisturbed(&JOB);
    assert_eq!(expected.len(), 7, "four shards, words, clusters, centroids");
    let mut moments = Stream::new(5, Purpose::Reseed, 0);
    let mut n_interrupted = 0;
    for (i, name) in ["-INT", "-TERM", "-HUP"].iter().cycle().take(9).enumerate() {
        let scene = with_shards(Scene::in_folder(STRANGE));
        let child = command(&scene, &JOB).spawn().unwrap();
        // One moment of each ninth of the run.
        sleep(duration.mul_f64((i as f64 + moments.unit()) / 9.0));
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let code = output.status.code();
        if code == Some(130) {
            n_interrupted += 1;
            let resumed = shell(&printed_command(&output));
            assert!(resumed.status.success(), "{}", stderr(&resumed));
        } else {
            // Before it listens to signals, or after its last batch.
            let is_ended = code == Some(0) || code.is_none();
            assert!(is_ended, "{code:?}: {}", stderr(&output));
            scene.run(&JOB).ok();
        }
        assert!(scene.results("out") == expected, "{name}, moment {i}");
        assert_no_leftovers(&scene);
    }
    assert!(
        n_interrupted >= 4,
        "{n_interrupted} of 9 runs were interrupted"
    );
}

#[test]
fn a_second_signal_ends_the_process_at_once_even_in_k_means() {
    let scene = with_shards(Scene::new());
    for signals in [["-INT", "-INT"], ["-TERM", "-INT"]] {
        let child = command(&scene, &SLOW).spawn().unwrap();
        wait_for_state(&scene);
        sleep(Duration::from_millis(300));
        signal(&child, signals[0]);
        sleep(Duration::from_millis(20));
        let start = Instant::now();
        signal(&child, signals[1]);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    }
}

#[test]
fn k_means_stops_at_the_first_signal() {
    let scene = with_shards(Scene::new());
    let child = command(&scene, &SLOW).spawn().unwrap();
    wait_for_state(&scene);
    sleep(Duration::from_millis(500));
    signal(&child, "-INT");
    let start = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert!(printed_command(&output).contains("vocabulary.k=2000"));
}

#[test]
fn a_run_that_was_started_to_outlive_its_terminal_does() {
    let scene = with_shards(Scene::new());
    let program = assert_cmd::cargo::cargo_bin!("bovw").display().to_string();
    let mut nohup = Command::new("sh");
    nohup
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh", &program])
        .args(scene.run_args(&JOB))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = nohup.spawn().unwrap();
    wait_for_state(&scene);
    signal(&child, "-HUP");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn of_two_runs_at_once_one_wins_and_the_other_is_told() {
    let (expected, _) = undisturbed(&JOB);
    let scene = with_shards(Scene::new());
    let winner = command(&scene, &JOB).spawn().unwrap();
    wait_for_state(&scene);
    let start = Instant::now();
    let ended = scene.run(&JOB).exited(4);
    assert!(start.elapsed() < AT_ONCE);
    assert!(
        ended
            .stderr
            .contains("another run of bovw is at work in it"),
        "{ended:?}"
    );
    let mut args = scene.run_args(&JOB);
    args.push("--fresh".to_owned());
    scene.bovw(&args).exited(4);
    let output = winner.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(scene.results("out") == expected);
}

#[test]
fn many_runs_started_together_leave_whole_results_and_one_that_was_killed_no_lock() {
    let (expected, _) = undisturbed(&JOB);
    let scene = with_shards(Scene::new());
    let mut killed = command(&scene, &JOB).spawn().unwrap();
    wait_for_state(&scene);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let runs: Vec<Child> = (0..4)
        .map(|_| command(&scene, &JOB).spawn().unwrap())
        .collect();
    let ended = runs
        .into_iter()
        .map(|child| child.wait_with_output().unwrap());
    let codes: Vec<Option<i32>> = ended.map(|output| output.status.code()).collect();
    assert!(codes.contains(&Some(0)), "{codes:?}");
    // One that came after the winner had ended finds its results.
    let is_told = |code: &Option<i32>| [Some(0), Some(4)].contains(code);
    assert!(codes.iter().all(is_told), "{codes:?}");
    assert!(scene.results("out") == expected);
    assert_no_leftovers(&scene);
}

#[test]
fn a_limit_on_file_sizes_is_an_error_and_no_signal_and_the_run_goes_on_without_it() {
    let (expected, _) = undisturbed(&JOB);
    // In blocks of 512 bytes or 1 KiB, as the shell has it: below a state, below words, below kept images.
    for limit in ["0", "1", "8", "20", "40"] {
        let scene = with_shards(Scene::new());
        let program = assert_cmd::cargo::cargo_bin!("bovw").display().to_string();
        let limited = Command::new("sh")
            .args(["-c", "ulimit -f \"$0\"; exec \"$@\"", limit, &program])
            .args(scene.run_args(&JOB))
            .output()
            .unwrap();
        let stderr = stderr(&limited);
        assert_eq!(limited.status.code(), Some(1), "{limit}: {stderr}");
        assert!(stderr.contains("ulimit -f"), "{limit}: {stderr}");
        assert_eq!(stderr.matches("error: ").count(), 1, "{limit}: {stderr}");
        let before = scene.results("out");
        assert!(
            before
                .iter()
                .all(|(name, bytes)| expected.get(name) == Some(bytes))
        );
        scene.run(&JOB).ok();
        assert!(scene.results("out") == expected, "{limit}");
        assert_no_leftovers(&scene);
    }
}

#[test]
fn a_stdout_that_takes_nothing_costs_no_results() {
    let scene = with_shards(Scene::new());
    let ended = command(&scene, &JOB)
        .stdout(File::options().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        stderr(&ended).contains("stdout: cannot write"),
        "{}",
        stderr(&ended)
    );
    let again = scene.run(&JOB).ok();
    assert!(again.stdout.starts_with("Nothing to do"), "{again:?}");
}

#[test]
fn an_output_folder_that_is_removed_meanwhile_is_one_clear_error() {
    let scene = with_shards(Scene::new());
    let child = command(&scene, &JOB).spawn().unwrap();
    wait_for_state(&scene);
    fs::rename(scene.path("out"), scene.path("gone")).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the folder is gone"), "{stderr}");
    assert_eq!(stderr.matches("error: ").count(), 1, "{stderr}");
    let (expected, _) = undisturbed(&JOB);
    scene.run(&JOB).ok();
    assert!(scene.results("out") == expected);
}

#[test]
fn json_tells_the_command_that_continues() {
    let scene = with_shards(Scene::new());
    let child = command(&scene, &SLOW).arg("--json").spawn().unwrap();
    wait_for_state(&scene);
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut events = stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let event = events
        .find(|event| event["event"] == "interrupted")
        .unwrap();
    let command = event["continue_with"].as_str().unwrap();
    assert_eq!(command, printed_command(&output));
    assert!(command.contains(" --json --progress none"), "{command}");
}
