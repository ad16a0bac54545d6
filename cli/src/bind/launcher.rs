//! The rank of this process on this host, from the environment variables of a launcher.

/// The rank of this process among the ranks on this host.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LocalRank {
    pub(super) rank: u32,
    /// The number of ranks on this host.
    pub(super) ranks: u32,
    /// The variable that the rank comes from.
    pub(super) variable: &'static str,
}

/// The variables of one launcher.
struct Launcher {
    rank: &'static str,
    ranks: &'static [&'static str],
}

/// The launchers, the inner one first: srun starts torchrun, and a batch step of Slurm starts mpirun, never the
/// reverse.
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
/// The index of this host in Slurm's list of tasks for each node.
const SLURM_NODE: &str = "SLURM_NODEID";

/// Returns the rank that the environment gives; `ranks` replaces the number of ranks that the launcher gives.
pub(super) fn local_rank(
    environment: impl Fn(&str) -> Option<String>,
    ranks: Option<u32>,
) -> Result<LocalRank, String> {
    let found = LAUNCHERS.iter().find_map(|launcher| Some((launcher, environment(launcher.rank)?)));
    let Some((launcher, text)) = found else {
        let names: Vec<&str> = LAUNCHERS.iter().map(|launcher| launcher.rank).collect();
        return Err(format!(
            "no launcher has given this process a rank: none of {} is set; to start ranks without a launcher, use nearfab run",
            names.join(", ")
        ));
    };
    let variable = launcher.rank;
    let rank = text
        .trim()
        .parse()
        .map_err(|_| format!("{variable}={text:?} is not a rank: expected a number, the first is 0"))?;
    let ranks = match ranks {
        Some(ranks) => ranks,
        None => number_of(launcher, &environment)?,
    };
    if rank >= ranks {
        return Err(format!("{variable}={rank} is too large: this host has {ranks} ranks, and the first is 0"));
    }
    Ok(LocalRank { rank, ranks, variable })
}

fn number_of(launcher: &Launcher, environment: &impl Fn(&str) -> Option<String>) -> Result<u32, String> {
    let Some((name, text)) = launcher.ranks.iter().find_map(|name| Some((name, environment(name)?))) else {
        return Err(format!(
            "{} is set, but {} is not: give the number of ranks on this host with -n",
            launcher.rank,
            launcher.ranks.join(", ")
        ));
    };
    let node = environment(SLURM_NODE).and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    element(&text, node).ok_or_else(|| {
        format!("{name}={text:?} is not a number of ranks: give the number of ranks on this host with -n")
    })
}

/// Returns the element for this node of a list such as `16(x2),8`. A number alone is for every node.
fn element(list: &str, node: u32) -> Option<u32> {
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

    fn rank_from(variables: &[(&str, &str)], ranks: Option<u32>) -> Result<LocalRank, String> {
        local_rank(
            |name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()),
            ranks,
        )
    }

    #[test]
    fn each_launcher_gives_rank_and_number_of_ranks() {
        for (variables, variable) in [
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
            assert_eq!(rank_from(variables, None), Ok(LocalRank { rank: 3, ranks: 8, variable }));
        }
    }

    #[test]
    fn number_of_ranks_on_the_command_line_wins() {
        let variables = [("SLURM_LOCALID", "3"), ("SLURM_NTASKS_PER_NODE", "8")];
        assert_eq!(rank_from(&variables, Some(16)).unwrap().ranks, 16);
    }

    #[test]
    fn error_names_the_variable() {
        for (variables, words) in [
            (&[][..], "none of LOCAL_RANK, OMPI_COMM_WORLD_LOCAL_RANK, "),
            (&[("LOCAL_RANK", "first")], "LOCAL_RANK=\"first\" is not a rank"),
            (&[("LOCAL_RANK", "0")], "LOCAL_WORLD_SIZE is not: give the number of ranks"),
            (&[("LOCAL_RANK", "8"), ("LOCAL_WORLD_SIZE", "8")], "this host has 8 ranks"),
            (
                &[("SLURM_LOCALID", "0"), ("SLURM_TASKS_PER_NODE", "8(x2)"), ("SLURM_NODEID", "2")],
                "is not a number of ranks",
            ),
            (
                &[
                    ("SLURM_LOCALID", "0"),
                    ("SLURM_TASKS_PER_NODE", "8(x4294967295),1(x2)"),
                    ("SLURM_NODEID", "4294967295"),
                ],
                "is not a number",
            ),
        ] {
            let error = rank_from(variables, None).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
