//! `nearfab bind`: one rank of a job that a launcher started.

mod launcher;

use std::ffi::OsString;

use nearfab::Error;

use crate::failure::Failure;
use crate::launch::{self, Ask, Given};
use crate::source::{Seen, Source};
use crate::start;

pub(crate) const HELP: &str = "\
The rank on this host is read from the first of these that is set, the number of ranks from what follows it, or -n:
  LOCAL_RANK                  LOCAL_WORLD_SIZE                      torchrun
  OMPI_COMM_WORLD_LOCAL_RANK  OMPI_COMM_WORLD_LOCAL_SIZE            mpirun of Open MPI
  MPI_LOCALRANKID             MPI_LOCALNRANKS                       mpirun of MPICH and Intel MPI
  PMIX_LOCAL_RANK             PMIX_LOCAL_SIZE
  PMI_LOCAL_RANK              PMI_LOCAL_SIZE
  SLURM_LOCALID               SLURM_STEP_TASKS_PER_NODE and others  srun
Of the rank's CPUs it takes those that the launcher gave it; where none is, those of its NUMA node that it gave.
It divides the cores in NEURON_RT_VISIBLE_CORES where that is set: not for ranks of nearfab run, which have their own already.
Exit status: that of the command, which takes nearfab's place; 126 or 127 where it cannot be started.";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many ranks this host has, where the launcher does not say it or says something else.
    #[arg(short = 'n', long)]
    ranks: Option<u32>,
    #[command(flatten)]
    ask: Ask,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Returns only where it fails.
pub(crate) fn bind(seen: &Seen, source: &Source, arguments: &Arguments) -> Failure {
    match prepared(seen, source, arguments) {
        Ok(environment) => start::become_command(&arguments.command, |command| {
            command.envs(environment);
        }),
        Err(failure) => failure,
    }
}

/// Binds this process; what the command is to be told in its environment.
fn prepared(seen: &Seen, source: &Source, arguments: &Arguments) -> Result<Vec<(&'static str, String)>, Failure> {
    source.refuse_other_than_files("bind")?;
    let of = launcher::place(|name| std::env::var(name).ok(), arguments.ranks).map_err(Failure::launch)?;
    let given = Given::to_this_process()?;
    let options = given.cores_of(&seen.host, arguments.ask.options(seen, of.ranks)?)?;
    let plan = nearfab::plan(&seen.host, &options)?;
    let rank = plan.ranks.get(of.rank as usize).ok_or_else(|| Error::NoPlan {
        reason: format!("{} says that this is rank {} of {} here", of.said_by, of.rank, of.ranks),
    })?;
    launch::refuse_absent(&seen.host, [rank])?;
    let cpus = rank.cpus.within(&seen.host, &given.cpus)?;
    launch::refuse_held(seen, source, |probe| rank.refuse_held(probe))?;
    launch::bind_to(&cpus.cpus)?;
    launch::warn_of_aborting(rank);
    Ok(launch::told(rank))
}
