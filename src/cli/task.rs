//! `bovw task plan`, `run` and `merge`: a job in pieces, for whatever starts processes on many machines.

use bovw::Result;
use bovw::job::Job;
use bovw::passes::progress::Watch;
use bovw::passes::task::{self, Merged, PlanOptions, Planned, Ran, Runner};
use serde_json::json;

use super::args::{
    GlobalArgs, JobArgs, RunArgs, TaskCommand, TaskMergeArgs, TaskPlanArgs, TaskRunArgs,
};
use super::command_line::again;
use super::output::{count, path_text, print, print_json, shown, table};
use super::run;
use super::style::Style;
use super::watched::watched;

pub(crate) fn task(command: &TaskCommand, global: &GlobalArgs) -> Result<()> {
    match command {
        TaskCommand::Plan(args) => plan(args, global),
        TaskCommand::Run(args) => run_tasks(args, global),
        TaskCommand::Merge(args) => merge(args, global),
    }
}

fn plan(args: &TaskPlanArgs, global: &GlobalArgs) -> Result<()> {
    let options = PlanOptions {
        max_row_groups: args.max_row_groups,
        fresh: args.fresh,
    };
    let command = || again("task plan", &args.job, global);
    let (_, planned) = watched(&args.job, global, command, |job, watch| {
        task::plan(job, options, watch)
    })?;
    if global.json {
        return print_planned(&planned);
    }
    let style = Style::of(global.color, &std::io::stdout());
    print(planned_text(&planned, &args.job, global, style))
}

fn print_planned(planned: &Planned) -> Result<()> {
    for task in &planned.tasks {
        print_json(&json!({
            "event": "task",
            "task": task.task,
            "file": task.input.path,
            "row_groups": task.row_groups,
            "rows": task.rows,
            "bytes": task.size_bytes(),
        }))?;
    }
    let kinds: Vec<&str> = planned.kinds.iter().map(|kind| kind.name()).collect();
    print_json(&json!({
        "event": "planned",
        "dir": path_text(&planned.dir),
        "kinds": kinds,
        "tasks": planned.tasks.len(),
    }))
}

fn planned_text(planned: &Planned, job: &JobArgs, global: &GlobalArgs, style: Style) -> String {
    let dir = shown(&planned.dir);
    let Some(last) = planned.tasks.last() else {
        let heading = format!("Nothing to do: {dir} holds this job's results");
        let fresh = format!(
            "  start over with: {} --fresh\n",
            again("task plan", job, global)
        );
        return format!("{}\n{}", style.bold(heading), style.dim(fresh));
    };
    let (n, n_files) = (planned.tasks.len() as u64, last.shard as u64 + 1);
    let heading = format!("{} tasks of {} files: {dir}", count(n), count(n_files));
    let kinds: Vec<&str> = planned.kinds.iter().map(|kind| kind.name()).collect();
    let run = again("task run", job, global);
    let merge = again("task merge", job, global);
    let which = match last.task {
        0 => "0".to_owned(),
        last => format!("0-{last}"),
    };
    let next = kinds
        .iter()
        .map(|kind| format!("{run} --kind {kind} {which}\n{merge} --kind {kind}"));
    let next = next.collect::<Vec<String>>().join("\n");
    let first = kinds.first().copied().unwrap_or_default();
    let spread = format!("seq 0 {} | xargs -P 4 -n 1 {run} --kind {first}", last.task);
    let rows = [
        ("kinds", kinds.join(", then ")),
        ("next", next),
        ("spread", spread),
    ];
    let rows = rows.map(|(name, text)| (name.to_owned(), text));
    format!("{}\n{}", style.bold(heading), table(&rows))
}

fn run_tasks(args: &TaskRunArgs, global: &GlobalArgs) -> Result<()> {
    let kind = args.kind.into();
    let command = || {
        let tasks: Vec<String> = args.tasks.iter().map(ToString::to_string).collect();
        let command = again("task run", &args.job, global);
        format!("{command} --kind {} {}", args.kind.name(), tasks.join(" "))
    };
    let each = |job: &Job, watch: Watch<'_>| {
        let wanted = |task: usize| args.tasks.iter().any(|range| range.contains(task));
        let runner = Runner::open(job, kind, wanted)?;
        // Before anything is done, rather than in the middle.
        for range in &args.tasks {
            runner.check(range.last)?;
        }
        for number in args.tasks.iter().flat_map(|range| range.first..=range.last) {
            tell_ran(&runner.run(number, watch)?, global)?;
        }
        Ok(())
    };
    watched(&args.job, global, command, each).map(|_| ())
}

fn tell_ran(ran: &Ran, global: &GlobalArgs) -> Result<()> {
    let (task, kind) = (&ran.task, ran.receipt.made.kind().name());
    if global.json {
        return print_json(&json!({
            "event": "ran",
            "kind": kind,
            "task": task.task,
            "was_done": ran.was_done,
            "file": task.input.path,
            "row_groups": task.row_groups,
            "rows": task.rows,
        }));
    }
    let (how, rows) = (
        if ran.was_done { "was done" } else { "done" },
        count(task.rows),
    );
    let place = match task.is_whole() {
        true => task.input.path.clone(),
        false => {
            let (start, end) = task.row_groups;
            format!("{}, row groups {start} to {}", task.input.path, end - 1)
        }
    };
    print(format!(
        "{kind} {}: {how}, {rows} images of {place}\n",
        task.task
    ))
}

fn merge(args: &TaskMergeArgs, global: &GlobalArgs) -> Result<()> {
    let kind = args.kind.into();
    let command = || {
        let command = again("task merge", &args.job, global);
        format!("{command} --kind {}", args.kind.name())
    };
    let (job, merged) = watched(&args.job, global, command, |job, watch| {
        task::merge(job, kind, watch)
    })?;
    let (kind, files, was_done) = match merged {
        Merged::Run(outcome) => {
            let args = RunArgs {
                job: args.job.clone(),
                fresh: false,
            };
            return run::tell(&job, &outcome, &args, global);
        }
        Merged::Words {
            kind,
            files,
            was_done,
        } => (kind, files, was_done),
    };
    if global.json {
        return print_json(&json!({
            "event": "merged",
            "kind": kind.name(),
            "files": files,
            "was_done": was_done,
        }));
    }
    let how = if was_done {
        "had been merged"
    } else {
        "merged"
    };
    let kinds = task::kinds(&job);
    let next = kinds.iter().skip_while(|other| **other != kind).nth(1);
    let next = next.map_or(String::new(), |next| {
        format!("; next: --kind {}", next.name())
    });
    let dir = shown(&job.output.dir);
    print(format!(
        "{} {how}: {dir}/{}{next}\n",
        kind.name(),
        files.join(", ")
    ))
}
