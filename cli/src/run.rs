//! `nearfab run`: the ranks of a plan as processes of this one.

mod listing;
mod processes;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nearfab::plan::{Plan, Rank};

use crate::failure::Failure;
use crate::launch::{self, Ask, Given, quoted};
use crate::source::{Seen, Source};
use crate::{plan, start};
use processes::Processes;

pub(crate) const HELP: &str = "\
Each rank finds its number in LOCAL_RANK and how many there are in LOCAL_WORLD_SIZE, as with torchrun; its standard input is
empty. Variables that only make a default explicit, such as FI_PROVIDER, stay as they are where they are set.
SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 go on to every rank, with what it started. Where one rank fails, the others
get SIGTERM, and SIGKILL after the grace period. No rank outlives nearfab, however that ends.
Cores that others hold are refused where the driver may be asked; see --probe.
Exit status: that of the first rank that failed, or 128 and the number of the signal that ended it.";

/// How torchrun numbers the processes of a host, which programs understand.
const RANK: &str = "LOCAL_RANK";
const RANKS: &str = "LOCAL_WORLD_SIZE";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many ranks to start.
    #[arg(short = 'n', long)]
    ranks: u32,
    #[command(flatten)]
    ask: Ask,
    /// Print what would be started, a line of shell each, and start nothing. Of another host than this one, within all that it
    /// has.
    #[arg(long)]
    dry_run: bool,
    /// How many seconds ranks have to end after SIGTERM, once one has failed.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    grace: u32,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(
    seen: &Seen,
    source: &Source,
    arguments: &Arguments,
    out: &mut dyn Write,
) -> Result<ExitCode, Failure> {
    if arguments.dry_run {
        let plan = plan::made(seen, &arguments.ask, arguments.ranks)?;
        for rank in &plan.ranks {
            writeln!(out, "{}", line(rank, &plan, &arguments.command))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    source.refuse_other_than_files("run")?;
    let plan = on_this_machine(seen, arguments)?;
    launch::refuse_held(seen, source, |probe| plan.refuse_held(probe))?;
    plan.ranks.first().into_iter().for_each(launch::warn_of_aborting);
    let commands = plan.ranks.iter().map(|rank| command(rank, &plan, &arguments.command));
    let grace = Duration::from_secs(arguments.grace.into());
    Processes::start(commands, grace)?.supervise()
}

/// The plan, within what this process was given, once the machine has what it is made of.
fn on_this_machine(seen: &Seen, arguments: &Arguments) -> Result<Plan, Failure> {
    let given = Given::to_this_process()?;
    let options = given.cores_of(&seen.host, arguments.ask.options(seen, arguments.ranks)?)?;
    launch::refuse_absent(&seen.host, &nearfab::plan(&seen.host, &options)?.ranks)?;
    Ok(nearfab::plan(&seen.host, &options.on_cpus(given.cpus))?)
}

/// The variables that the rank's process gets.
fn environment(rank: &Rank, plan: &Plan) -> Vec<(&'static str, String)> {
    let place = [(RANK, rank.rank.to_string()), (RANKS, plan.ranks.len().to_string())];
    place.into_iter().chain(launch::told(rank)).collect()
}

/// What does the same from a shell.
fn line(rank: &Rank, plan: &Plan, command: &[OsString]) -> String {
    let mut words = vec!["env".to_owned()];
    let set = |(name, value): (&str, String)| quoted(OsStr::new(&format!("{name}={value}")));
    words.extend(environment(rank, plan).into_iter().map(set));
    if !rank.cpus.cpus.is_empty() {
        words.extend(["taskset".to_owned(), "-c".to_owned(), rank.cpus.cpus.to_string()]);
    }
    words.extend(command.iter().map(|word| quoted(word)));
    words.join(" ")
}

/// This program, which becomes the command when it has bound itself. In a process group of its own, which can be ended with all
/// that it starts.
fn command(rank: &Rank, plan: &Plan, words: &[OsString]) -> Command {
    // As the child sees it: this program, also where its file was replaced since.
    let mut command = Command::new("/proc/self/exe");
    command.args(start::Arguments::words(&rank.cpus.cpus, std::process::id(), words));
    command.envs(environment(rank, plan)).stdin(Stdio::null()).process_group(0);
    command
}
