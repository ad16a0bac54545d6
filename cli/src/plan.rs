//! `nearfab plan`: the cores, EFA interfaces and CPUs that each rank should use.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, Write};

use nearfab::instances::Source;
use nearfab::plan::{NearOf, Plan, Rank, Share, Variable};
use nearfab::{Bdf, CpuList, Error, Evidence, Host, Proximity};
use serde::Serialize;

use crate::evidence::{self, EvidenceLine, Nearest};
use crate::failure::Failure;
use crate::launch::{Allotment, PlanFlags};
use crate::output::{self, Output, answer};
use crate::shell::quoted;
use crate::source::Input;
use crate::table::{Table, or_unknown};
use crate::{head, notes};

pub(crate) const HELP: &str = "\
CORES are numbers of NEURON_RT_VISIBLE_CORES. GPUS are numbers of CUDA_VISIBLE_DEVICES, counted by PCI address.
DEVICES are the host's numbers of Neuron devices. Equally near interfaces have = between them.
On this machine, the plan divides the CPUs that nearfab may use. On this machine and with --root, the plan divides the cores \
in NEURON_RT_VISIBLE_CORES, and a CUDA_VISIBLE_DEVICES that hides GPUs is refused, as by nearfab run.
With --probe, nearfab plan fails if other processes hold cores of the plan.";

/// The largest number of interfaces of a rank that a narrow table shows.
const MOST_NEAR: usize = 4;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The number of ranks to divide the host among.
    #[arg(short = 'n', long)]
    ranks: u32,
    #[command(flatten)]
    flags: PlanFlags,
    /// Print the environment of this rank as shell commands: eval "$(nearfab plan -n 16 --export 3)". If the shell has
    /// already set a variable that is only a default, the value of the shell is kept. -o json prints the environment as JSON.
    #[arg(long, value_name = "RANK")]
    pub(crate) export: Option<u32>,
}

pub(crate) fn write(
    input: &Input,
    arguments: &Arguments,
    output: Output,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    let plan = make_plan(input, &arguments.flags, arguments.ranks, err)?;
    if let Some(rank) = arguments.export {
        return export(&plan, rank, output, out);
    }
    if output == Output::Json {
        let (rests_on, instance_type) = (notes::sources(&input.host, &notes::NEARNESS), input.host.instance_type());
        return Ok(answer("plan", Answer { instance_type, plan: &plan, rests_on }, out)?);
    }
    Ok(text(&input.host, &plan, output == Output::Wide, out)?)
}

/// Plans a host under the environment of this process. On this machine, the plan divides the CPUs of this process only.
pub(crate) fn make_plan(input: &Input, flags: &PlanFlags, ranks: u32, err: &mut dyn Write) -> Result<Plan, Failure> {
    let mut options = flags.options(input, ranks, err)?;
    if input.host.is_live() {
        options = options.on_cpus(Allotment::of_this_process()?.cpus);
    }
    let plan = nearfab::plan(&input.host, &options)?;
    if let Some(probe) = &input.probe {
        plan.refuse_held(probe)?;
    }
    Ok(plan)
}

/// The plan in JSON.
#[derive(Serialize)]
struct Answer<'a> {
    instance_type: Option<&'a str>,
    #[serde(flatten)]
    plan: &'a Plan,
    rests_on: Vec<&'static Source>,
}

/// The environment of a rank in JSON.
#[derive(Serialize)]
struct ExportAnswer<'a> {
    rank: u32,
    environment: &'a BTreeMap<String, String>,
    /// The variables that keep a value that the user has already set.
    defaults: Vec<&'a str>,
}

fn export(plan: &Plan, rank: u32, output: Output, out: &mut dyn Write) -> Result<(), Failure> {
    let rank = plan.ranks.get(rank as usize).ok_or_else(|| Error::NoPlan {
        reason: format!("the plan has no rank {rank}: its ranks are 0 to {}", plan.ranks.len().saturating_sub(1)),
    })?;
    let is_default = |name: &str| plan.variables.iter().any(|variable| variable.name == name && variable.is_default());
    if output == Output::Json {
        let defaults = rank.environment.keys().map(String::as_str).filter(|name| is_default(name)).collect();
        let answer = ExportAnswer { rank: rank.rank, environment: &rank.environment, defaults };
        return Ok(output::answer("plan-export", answer, out)?);
    }
    for (name, value) in &rank.environment {
        let value = quoted(OsStr::new(value));
        if is_default(name) {
            // A value that the user has set in the shell is kept.
            writeln!(out, "{name}=${{{name}-{value}}}; export {name}")?;
        } else {
            writeln!(out, "export {name}={value}")?;
        }
    }
    Ok(())
}

fn text(host: &Host, plan: &Plan, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    head::write(host, out)?;
    writeln!(out)?;
    let mut table = Table::of(&plan.ranks);
    table.add("RANK", |rank| rank.rank.to_string());
    if plan.ranks.iter().any(|rank| matches!(rank.share, Share::Cores { .. })) {
        table.add("CORES", |rank| rank.share.numbers());
        table.add("DEVICES", devices);
        if wide {
            table.add("PHYSICAL", physical);
        }
    } else if plan.ranks.iter().any(|rank| matches!(rank.share, Share::Gpus { .. })) {
        table.add("GPUS", |rank| rank.share.numbers());
        table.add("PCI", gpus);
    }
    table.add("NEAR EFA", |rank| or_unknown(near(rank, wide)));
    if wide {
        table.add("RDMA", |rank| or_unknown(names(host, &rank.interfaces())));
    }
    table.add("NUMA", |rank| or_unknown(join(rank.cpus.numa.iter().map(ToString::to_string))));
    table.add("CPUS", |rank| or_unknown(Some(&rank.cpus.cpus)));
    table.write(out)?;
    reasons(plan, out)?;
    writeln!(out)?;
    variables(plan, wide, out)?;
    notes::write(host, &notes::NEARNESS, out)
}

/// Returns the numbers of the devices as ranges, in the form of a CPU list.
fn devices(rank: &Rank) -> String {
    rank.share.devices().iter().map(|device| device.0).collect::<CpuList>().to_string()
}

fn physical(rank: &Rank) -> String {
    let Share::Cores { cores } = &rank.share else { return String::new() };
    let devices = rank.share.devices().into_iter().map(|device| {
        let cores = cores.iter().filter(|row| row.device == device).flat_map(|row| &row.physical);
        format!("{}:{}", device.0, cores.map(|core| core.0).collect::<CpuList>())
    });
    devices.collect::<Vec<_>>().join(" ")
}

fn gpus(rank: &Rank) -> String {
    let Share::Gpus { gpus } = &rank.share else { return String::new() };
    gpus.iter().map(|gpu| gpu.address.to_string()).collect::<Vec<_>>().join(",")
}

fn join(items: impl Iterator<Item = String>) -> Option<String> {
    let items: Vec<String> = items.collect();
    (!items.is_empty()).then(|| items.join(","))
}

/// Returns the rails of a rank, each once.
fn near(rank: &Rank, wide: bool) -> Option<String> {
    let nearest: Vec<String> = rank.interfaces().iter().map(Bdf::to_string).collect();
    let (shown, more) =
        if wide { (nearest.len(), 0) } else { (MOST_NEAR.min(nearest.len()), nearest.len().saturating_sub(MOST_NEAR)) };
    let text = join(nearest.into_iter().take(shown))?;
    Some(if more == 0 { text } else { format!("{text} and {more} more") })
}

fn names(host: &Host, interfaces: &[Bdf]) -> Option<String> {
    let names: Option<Vec<&str>> =
        interfaces.iter().map(|&address| host.find_efa(address).ok()?.rdma.as_deref()).collect();
    names.map(|names| names.join(","))
}

/// Writes the evidence for the interfaces, and the reason for the CPUs.
fn reasons(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    let (mut efa, mut cpus) = (EvidenceLine::default(), EvidenceLine::default());
    let mut seen = BTreeSet::new();
    for near in plan.ranks.iter().flat_map(|rank| &rank.near).filter(|near| seen.insert(near.of.clone())) {
        if let Some(nearest) = Nearest::of(&near.list.entries).filter(|_| !is_placeless(near)) {
            efa.add(nearest.evidence, &near.of);
        }
    }
    for rank in plan.ranks.iter().filter(|rank| !rank.cpus.cpus.is_empty()) {
        cpus.add(rank.cpus.reason, format_args!("rank {}", rank.rank));
    }
    efa.write("NEAR EFA by", out)?;
    let placeless = plan.ranks.iter().flat_map(|rank| &rank.near).filter(|near| is_placeless(near));
    let interfaces: BTreeSet<Bdf> = placeless.flat_map(|near| &near.list.entries).map(|near| near.target).collect();
    if !interfaces.is_empty() {
        let names: Vec<String> = interfaces.iter().map(Bdf::to_string).collect();
        writeln!(out, "NEAR EFA on no known NUMA node: {}", names.join(", "))?;
    }
    cpus.write("CPUS are", out)?;
    let passed_over = plan.ranks.iter().flat_map(|rank| &rank.near).flat_map(|near| &near.passed_over);
    evidence::write_unusable(passed_over, out)?;
    let missing =
        plan.ranks.iter().flat_map(|rank| &rank.near).filter_map(|near| Some((&near.of, near.list.missing_pair?)));
    for (of, pair) in missing.collect::<BTreeSet<_>>() {
        writeln!(
            out,
            "The table pairs {of} with {pair}, which this host does not have: its interfaces are chosen by PCIe path and NUMA node."
        )?;
    }
    Ok(())
}

/// Returns true if the place of the rank's interfaces is unknown, as for an interface whose NUMA node the firmware does not
/// report.
fn is_placeless(near: &NearOf) -> bool {
    near.list.entries.iter().any(|near| near.evidence == Evidence::Place { proximity: Proximity::Unknown })
}

/// Writes each variable once, with its value if all ranks have the same value.
fn variables(plan: &Plan, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    let value = |variable: &&Variable| {
        let values: BTreeSet<Option<&String>> =
            plan.ranks.iter().map(|rank| rank.environment.get(variable.name)).collect();
        let only = values.first().copied().flatten().filter(|_| values.len() == 1);
        only.cloned().unwrap_or_else(|| "differs by rank".to_owned())
    };
    let mut table = Table::of(&plan.variables);
    table.add("VARIABLE", |variable| variable.name.to_owned());
    table.add("VALUE", value);
    table.add("READ BY", |variable| variable.readers());
    if wide {
        table.add("WHY", |variable| variable.why.to_owned());
    }
    table.write(out)
}
