//! `nearfab run`: one process for each rank of a plan.

mod listing;
mod processes;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nearfab::CpuList;
use nearfab::plan::{Plan, Rank};
use serde::Serialize;

use crate::failure::Failure;
use crate::launch::{self, Allotment, PlanFlags};
use crate::output::{self, Output};
use crate::shell::quoted;
use crate::source::{Input, Source};
use crate::{plan, start};
use processes::Processes;

pub(crate) const HELP: &str = "\
Each rank has its number in LOCAL_RANK and the number of ranks in LOCAL_WORLD_SIZE, as with torchrun. \
Its standard input is empty.
A variable that only sets a default, such as FI_PROVIDER, keeps the value that it has already.
nearfab passes SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 on to every rank and to the processes that the rank started.
If one rank fails, nearfab sends SIGTERM to the others, and SIGKILL after the grace period. No rank outlives nearfab.
If other processes hold cores of the plan, nearfab starts no rank. It asks the Neuron driver under the same limits as --probe.
Exit status: that of the first rank that failed, or 128 plus the number of the signal that ended it.";

/// The variables in which torchrun numbers the processes of a host. Programs read them.
const RANK: &str = "LOCAL_RANK";
const RANKS: &str = "LOCAL_WORLD_SIZE";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The number of ranks to start.
    #[arg(short = 'n', long)]
    ranks: u32,
    #[command(flatten)]
    flags: PlanFlags,
    /// Print the shell command of each rank, or the commands as JSON with -o json, and start nothing. On a host other than this machine, the plan divides the whole
    /// host.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The seconds between SIGTERM and SIGKILL for the other ranks after one rank has failed.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    grace: u32,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// The commands of the ranks in JSON.
#[derive(Serialize)]
struct Answer<'a> {
    ranks: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    rank: u32,
    environment: BTreeMap<String, String>,
    cpus: &'a CpuList,
    command: &'a [&'a str],
}

impl<'a> Row<'a> {
    fn of(rank: &'a Rank, plan: &Plan, command: &'a [&'a str]) -> Self {
        let environment = environment(rank, plan).into_iter().collect();
        Self { rank: rank.rank, environment, cpus: &rank.cpus.cpus, command }
    }
}

/// Prints the shell command of each rank, or the parts of the commands in JSON.
pub(crate) fn print(
    input: &Input,
    arguments: &Arguments,
    output: Output,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    let plan = plan::make_plan(input, &arguments.flags, arguments.ranks, err)?;
    if output == Output::Json {
        let words: Option<Vec<&str>> = arguments.command.iter().map(|word| word.to_str()).collect();
        let words = words
            .ok_or_else(|| Failure::launch("the command is not UTF-8 text, which JSON needs: leave --output out"))?;
        return Ok(output::answer(
            "run",
            Answer { ranks: plan.ranks.iter().map(|rank| Row::of(rank, &plan, &words)).collect() },
            out,
        )?);
    }
    for rank in &plan.ranks {
        writeln!(out, "{}", line(rank, &plan, &arguments.command))?;
    }
    Ok(())
}

/// Starts the ranks and waits until all have ended; returns the exit status of nearfab.
pub(crate) fn run(input: &Input, source: &Source, arguments: &Arguments, err: &mut dyn Write) -> Result<u8, Failure> {
    let plan = plan_this_machine(input, arguments, err)?;
    launch::refuse_held(input, source, err, |probe| plan.refuse_held(probe))?;
    if let Some(rank) = plan.ranks.first() {
        launch::warn_of_aborting(rank, err);
    }
    let commands = plan.ranks.iter().map(|rank| command(rank, &plan, &arguments.command));
    let grace = Duration::from_secs(arguments.grace.into());
    Processes::start(commands, grace)?.supervise(err)
}

/// Plans the CPUs and cores of this process, after checking that the CPUs of a whole host are online here.
fn plan_this_machine(input: &Input, arguments: &Arguments, err: &mut dyn Write) -> Result<Plan, Failure> {
    let allotment = Allotment::of_this_process()?;
    let options = arguments.flags.options(input, arguments.ranks, err)?;
    launch::refuse_absent(&input.host, &nearfab::plan(&input.host, &options)?.ranks)?;
    Ok(nearfab::plan(&input.host, &options.on_cpus(allotment.cpus))?)
}

/// Returns the variables to set for the rank's process.
fn environment(rank: &Rank, plan: &Plan) -> Vec<(String, String)> {
    let numbers = [(RANK.to_owned(), rank.rank.to_string()), (RANKS.to_owned(), plan.ranks.len().to_string())];
    numbers.into_iter().chain(launch::variables_of(rank)).collect()
}

/// Returns the shell command that does the same as nearfab for this rank.
fn line(rank: &Rank, plan: &Plan, command: &[OsString]) -> String {
    let mut words = vec!["env".to_owned()];
    let set = |(name, value): (String, String)| quoted(OsStr::new(&format!("{name}={value}")));
    words.extend(environment(rank, plan).into_iter().map(set));
    if !rank.cpus.cpus.is_empty() {
        words.extend(["taskset".to_owned(), "-c".to_owned(), rank.cpus.cpus.to_string()]);
    }
    words.extend(command.iter().map(|word| quoted(word)));
    words.join(" ")
}

/// Returns the command of the rank's process: `nearfab start`, which binds the process and then becomes the command of
/// the user.
///
/// Each rank has its own process group, so that a signal to the group also ends the processes that the rank has started.
fn command(rank: &Rank, plan: &Plan, words: &[OsString]) -> Command {
    // The program of this process, even if its file was replaced since the start of this process.
    let mut command = Command::new("/proc/self/exe");
    command.args(start::Arguments::words(&rank.cpus.cpus, std::process::id(), words));
    command.envs(environment(rank, plan)).stdin(Stdio::null()).process_group(0);
    command
}
