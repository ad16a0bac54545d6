//! Which rank this is, as launchers say it.

/// One rank of those on this host.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) rank: u32,
    pub(super) ranks: u32,
    /// The variable that says so.
    pub(super) said_by: &'static str,
}

/// The variables of one launcher.
struct Launcher {
    rank: &'static str,
    ranks: &'static [&'static str],
}

/// The inner one first: torchrun is started by srun, and mpirun in a batch step of Slurm, not the other way round.
const LAUNCHERS: [Launcher; 6] = [
    Launcher { rank: "LOCAL_RANK", ranks: &["LOCAL_WORLD_SIZE"] },
    Launcher { rank: "OMPI_COMM_WORLD_LOCAL_RANK", ranks: &["OMPI_COMM_WORLD_LOCAL_SIZE"] },
    Launcher { rank: "MPI_LOCALRANKID", ranks: &["MPI_LOCALNRANKS"] },
    Launcher { rank: "PMIX_LOCAL_RANK", ranks: &["PMIX_LOCAL_SIZE"] },
    Launcher { rank: "PMI_LOCAL_RANK", ranks: &["PMI_LOCAL_SIZE"] },
    Launcher {
        rank: "SLURM_LOCALID",
        ranks: &["SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE"],
    },
];
/// Which element of Slurm's list of tasks a node is this host's.
const SLURM_NODE: &str = "SLURM_NODEID";

/// The place that the environment names; `ranks` stands above what a launcher says of their number.
pub(super) fn place(environment: impl Fn(&str) -> Option<String>, ranks: Option<u32>) -> Result<Place, String> {
    let said = LAUNCHERS.iter().find_map(|launcher| Some((launcher, environment(launcher.rank)?)));
    let Some((launcher, text)) = said else {
        let names: Vec<&str> = LAUNCHERS.iter().map(|launcher| launcher.rank).collect();
        return Err(format!(
            "no launcher says which rank this is: none of {} is set. Without a launcher, nearfab run starts ranks",
            names.join(", ")
        ));
    };
    let said_by = launcher.rank;
    let rank = text.trim().parse().map_err(|_| format!("{said_by}={text:?} is no rank"))?;
    let ranks = match ranks {
        Some(ranks) => ranks,
        None => number_of(launcher, &environment)?,
    };
    if rank >= ranks {
        return Err(format!("{said_by} says rank {rank}, and there are {ranks} ranks here: 0 is the first"));
    }
    Ok(Place { rank, ranks, said_by })
}

fn number_of(launcher: &Launcher, environment: &impl Fn(&str) -> Option<String>) -> Result<u32, String> {
    let Some((name, text)) = launcher.ranks.iter().find_map(|name| Some((name, environment(name)?))) else {
        return Err(format!(
            "{} says which rank this is, and {} is not set: say with -n how many ranks this host has",
            launcher.rank,
            launcher.ranks.join(", ")
        ));
    };
    let node = environment(SLURM_NODE).and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    at(&text, node).ok_or_else(|| format!("{name}={text:?} does not tell how many ranks this host has: say it with -n"))
}

/// The element of a list such as `16(x2),8`; a number alone is every node's, or this host's, as other launchers say it.
fn at(list: &str, node: u32) -> Option<u32> {
    if let Ok(number) = list.trim().parse() {
        return Some(number);
    }
    let mut before: u32 = 0;
    for part in list.trim().split(',') {
        let (number, times) = match part.split_once("(x") {
            Some((number, times)) => (number, times.strip_suffix(')')?.parse().ok()?),
            None => (part, 1),
        };
        before = before.checked_add(times)?;
        if node < before {
            return number.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(variables: &[(&str, &str)], ranks: Option<u32>) -> Result<Place, String> {
        place(|name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()), ranks)
    }

    #[test]
    fn each_launcher_is_understood() {
        for (variables, said_by) in [
            (&[("LOCAL_RANK", "3"), ("LOCAL_WORLD_SIZE", "8")][..], "LOCAL_RANK"),
            (&[("LOCAL_RANK", "3"), ("LOCAL_WORLD_SIZE", "8"), ("SLURM_NODEID", "1")], "LOCAL_RANK"),
            (
                &[
                    ("OMPI_COMM_WORLD_LOCAL_RANK", "3"),
                    ("OMPI_COMM_WORLD_LOCAL_SIZE", "8"),
                    ("SLURM_LOCALID", "0"),
                    ("SLURM_NODEID", "1"),
                ],
                "OMPI_COMM_WORLD_LOCAL_RANK",
            ),
            (&[("MPI_LOCALRANKID", "3"), ("MPI_LOCALNRANKS", "8")], "MPI_LOCALRANKID"),
            (&[("PMI_LOCAL_RANK", "3"), ("PMI_LOCAL_SIZE", "8")], "PMI_LOCAL_RANK"),
            (&[("SLURM_LOCALID", "3"), ("SLURM_NTASKS_PER_NODE", "8"), ("SLURM_NODEID", "1")], "SLURM_LOCALID"),
            (
                &[("SLURM_LOCALID", "3"), ("SLURM_STEP_TASKS_PER_NODE", "16(x2),8"), ("SLURM_NODEID", "2")],
                "SLURM_LOCALID",
            ),
        ] {
            assert_eq!(placed(variables, None), Ok(Place { rank: 3, ranks: 8, said_by }));
        }
    }

    #[test]
    fn what_is_said_by_hand_counts() {
        let variables = [("SLURM_LOCALID", "3"), ("SLURM_NTASKS_PER_NODE", "8")];
        assert_eq!(placed(&variables, Some(16)).unwrap().ranks, 16);
    }

    #[test]
    fn what_does_not_tell_is_named() {
        for (variables, words) in [
            (&[][..], "none of LOCAL_RANK, OMPI_COMM_WORLD_LOCAL_RANK, "),
            (&[("LOCAL_RANK", "first")], "LOCAL_RANK=\"first\" is no rank"),
            (&[("LOCAL_RANK", "0")], "LOCAL_WORLD_SIZE is not set: say with -n"),
            (&[("LOCAL_RANK", "8"), ("LOCAL_WORLD_SIZE", "8")], "0 is the first"),
            (&[("SLURM_LOCALID", "0"), ("SLURM_TASKS_PER_NODE", "8(x2)"), ("SLURM_NODEID", "2")], "does not tell how"),
            (
                &[
                    ("SLURM_LOCALID", "0"),
                    ("SLURM_TASKS_PER_NODE", "8(x4294967295),1(x2)"),
                    ("SLURM_NODEID", "4294967295"),
                ],
                "does not",
            ),
        ] {
            let error = placed(variables, None).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
