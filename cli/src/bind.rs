//! `nearfab bind`: binds one rank of a job that srun, mpirun or torchrun started.

mod launcher;

use std::ffi::OsString;
use std::io::Write;

use nearfab::Error;

use crate::failure::Failure;
use crate::launch::{self, Allotment, PlanFlags};
use crate::source::{Input, Source};
use crate::start;

pub(crate) const HELP: &str = "\
The rank on this host comes from the first of these variables that is set. \
The number of ranks comes from -n, or from the variable beside it:
  LOCAL_RANK                  LOCAL_WORLD_SIZE                      torchrun
  OMPI_COMM_WORLD_LOCAL_RANK  OMPI_COMM_WORLD_LOCAL_SIZE            mpirun of Open MPI
  MPI_LOCALRANKID             MPI_LOCALNRANKS                       mpirun of MPICH and Intel MPI
  PMIX_LOCAL_RANK             PMIX_LOCAL_SIZE
  PMI_LOCAL_RANK              PMI_LOCAL_SIZE
  SLURM_LOCALID               SLURM_STEP_TASKS_PER_NODE and others  srun
nearfab binds the rank to those CPUs of its share that the launcher has left to it. \
If none is left, nearfab takes the CPUs of the rank's NUMA node that the launcher has left to it.
If NEURON_RT_VISIBLE_CORES is set, nearfab divides these cores. Do not use nearfab bind in ranks of nearfab run: they are bound.
Exit status: that of the command, which replaces nearfab; 126 or 127 if the command cannot be started.";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The number of ranks on this host, instead of the number that the launcher gives.
    #[arg(short = 'n', long)]
    ranks: Option<u32>,
    #[command(flatten)]
    flags: PlanFlags,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Binds this process, and replaces it with the command; returns only on failure.
pub(crate) fn bind(input: &Input, source: &Source, arguments: &Arguments, err: &mut dyn Write) -> Failure {
    match bind_this_process(input, source, arguments, err) {
        Ok(environment) => start::become_command(&arguments.command, |command| {
            command.envs(environment);
        }),
        Err(failure) => failure,
    }
}

/// Binds this process to its CPUs; returns the variables to set for the command.
fn bind_this_process(
    input: &Input,
    source: &Source,
    arguments: &Arguments,
    err: &mut dyn Write,
) -> Result<Vec<(String, String)>, Failure> {
    let local = launcher::local_rank(|name| std::env::var(name).ok(), arguments.ranks).map_err(Failure::launch)?;
    let allotment = Allotment::of_this_process()?;
    let options = arguments.flags.options(input, local.ranks, err)?;
    let plan = nearfab::plan(&input.host, &options)?;
    let rank = plan.ranks.get(local.rank as usize).ok_or_else(|| Error::NoPlan {
        reason: format!("{} gives rank {}, and the plan has {} ranks", local.variable, local.rank, plan.ranks.len()),
    })?;
    launch::refuse_absent(&input.host, [rank])?;
    let cpus = rank.cpus.within(&input.host, &allotment.cpus)?;
    launch::refuse_held(input, source, err, |probe| rank.refuse_held(probe))?;
    launch::bind_to(&cpus.cpus)?;
    launch::warn_of_aborting(rank, err);
    Ok(launch::variables_of(rank))
}
