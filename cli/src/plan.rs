//! `nearfab plan`: who should use what, rank by rank.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, Write};

use nearfab::instances::Source;
use nearfab::plan::{Plan, Rank, Share, Variable};
use nearfab::{Bdf, CpuList, Error, Host};
use serde::Serialize;

use crate::evidence::{Evidence, Nearest};
use crate::failure::Failure;
use crate::launch::{Ask, Given, quoted};
use crate::output::{FORMAT, Output, json};
use crate::source::Seen;
use crate::table::{Table, or_unknown};
use crate::{head, notes};

pub(crate) const HELP: &str = "\
CORES are numbers in NEURON_RT_VISIBLE_CORES, GPUS numbers in CUDA_VISIBLE_DEVICES by PCI address.
DEVICES are the host's numbers of Neuron devices. Equally near interfaces have = between them.
On this machine it plans for the CPUs, and within NEURON_RT_VISIBLE_CORES, that it was given itself.
With --probe it fails where others hold cores.";

/// Lists of interfaces that are longer are cut in tables that are not wide.
const MOST_NEAR: usize = 4;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many ranks to divide the host among.
    #[arg(short = 'n', long)]
    ranks: u32,
    #[command(flatten)]
    ask: Ask,
    /// Print the environment of this rank for a shell: eval "$(nearfab plan -n 16 --export 3)". Defaults that are set there stay.
    #[arg(long, value_name = "RANK")]
    export: Option<u32>,
}

pub(crate) fn write(seen: &Seen, arguments: &Arguments, output: Output, out: &mut dyn Write) -> Result<(), Failure> {
    let plan = made(seen, &arguments.ask, arguments.ranks)?;
    if let Some(rank) = arguments.export {
        return export(&plan, rank, out);
    }
    if output == Output::Json {
        let (rests_on, instance_type) = (notes::sources(&seen.host, &notes::NEARNESS), seen.host.instance_type());
        return Ok(json(&Answer { format: FORMAT, instance_type, plan: &plan, rests_on }, out)?);
    }
    Ok(text(&seen.host, &plan, output == Output::Wide, out)?)
}

/// The plan of a host that is looked at: within what this process was given, where it is this machine's.
pub(crate) fn made(seen: &Seen, ask: &Ask, ranks: u32) -> Result<Plan, Failure> {
    let mut options = ask.options(seen, ranks)?;
    if seen.host.is_live() {
        let given = Given::to_this_process()?;
        options = given.cores_of(&seen.host, options)?.on_cpus(given.cpus);
    }
    let plan = nearfab::plan(&seen.host, &options)?;
    if let Some(probe) = &seen.probe {
        plan.refuse_held(probe)?;
    }
    Ok(plan)
}

/// The plan, as JSON has it.
#[derive(Serialize)]
struct Answer<'a> {
    format: u32,
    instance_type: Option<&'a str>,
    #[serde(flatten)]
    plan: &'a Plan,
    rests_on: Vec<&'static Source>,
}

fn export(plan: &Plan, rank: u32, out: &mut dyn Write) -> Result<(), Failure> {
    let of = plan.ranks.get(rank as usize).ok_or_else(|| Error::NoPlan {
        reason: format!("there is no rank {rank} of {}: 0 is the first", plan.ranks.len()),
    })?;
    for (&name, value) in &of.environment {
        let value = quoted(OsStr::new(value));
        if plan.variables.iter().any(|variable| variable.name == name && variable.is_default()) {
            // What is set in that shell stays.
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
    } else {
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

/// Numbers as ranges, which a set of CPUs is written in as well.
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

/// The interfaces near each device or GPU, those near to several once.
fn near(rank: &Rank, wide: bool) -> Option<String> {
    let mut seen = BTreeSet::new();
    let nearest = rank.near.iter().filter_map(|near| Nearest::of(&near.list.entries)).map(|nearest| nearest.targets);
    let nearest: Vec<String> = nearest.filter(|targets| seen.insert(targets.clone())).collect();
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

/// Why the interfaces and CPUs are these, said once where it is the same of most.
fn reasons(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    let (mut efa, mut cpus) = (Evidence::default(), Evidence::default());
    let mut seen = BTreeSet::new();
    for near in plan.ranks.iter().flat_map(|rank| &rank.near).filter(|near| seen.insert(near.of.clone())) {
        if let Some(nearest) = Nearest::of(&near.list.entries) {
            efa.add(nearest.why, &near.of);
        }
    }
    for rank in plan.ranks.iter().filter(|rank| !rank.cpus.cpus.is_empty()) {
        cpus.add(rank.cpus.reason, format_args!("rank {}", rank.rank));
    }
    efa.write("NEAR EFA by", out)?;
    cpus.write("CPUS are", out)?;
    let missing =
        plan.ranks.iter().flat_map(|rank| &rank.near).filter_map(|near| Some((&near.of, near.list.missing_pair?)));
    for (of, pair) in missing.collect::<BTreeSet<_>>() {
        writeln!(out, "The table pairs {of} with {pair}, which this host does not have: near by place alone.")?;
    }
    Ok(())
}

/// The variables, each once: its value where all ranks have the same.
fn variables(plan: &Plan, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    let value = |variable: &&Variable| {
        let values: BTreeSet<Option<&String>> =
            plan.ranks.iter().map(|rank| rank.environment.get(variable.name)).collect();
        let only = values.first().copied().flatten().filter(|_| values.len() == 1);
        only.cloned().unwrap_or_else(|| "of each rank".to_owned())
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
