//! `nearfab rails`: the EFA interfaces that each accelerator should use.

use std::collections::BTreeSet;
use std::io::{self, Write};

use nearfab::instances::Source;
use nearfab::plan::RailFormat;
use nearfab::{Anchor, Bdf, Host, Proximity, Rail, RailOptions, Rails};
use serde::Serialize;

use crate::evidence::write_unusable;
use crate::failure::Failure;
use crate::launch::{self, PlanFlags};
use crate::output::{Output, answer};
use crate::plan::make_plan;
use crate::source::Input;
use crate::table::{Table, UNKNOWN, or_unknown};
use crate::{head, notes};

pub(crate) const HELP: &str = "\
Accelerators behind one switch divide its interfaces: each gets a contiguous part, in the order of addresses, as NCCL's plugin
of AWS and NIXL divide. SHARED BY is the number of accelerators that have the interface, if there are fewer interfaces than
accelerators. The division is the same in each process of a container, whatever CUDA_VISIBLE_DEVICES says.";

/// The forms of `--for`.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// The file of MC_CUSTOM_TOPO_JSON, for all accelerators and NUMA nodes.
    Mooncake,
    /// The value of --disaggregation-ib-device, for all GPUs.
    Sglang,
    /// VLLM_GPU_NIC_PCIE_MAPPING and VLLM_NIC_SELECTION_VARS, for all GPUs; one interface for each.
    Vllm,
    /// UCX_NET_DEVICES of one process.
    Ucx,
    /// UCCL_P2P_RDMA_DEV of one process.
    Uccl,
    /// FI_EFA_IFACE of one process.
    Libfabric,
    /// The value of srun --cpu-bind for one rank on each accelerator.
    CpuMask,
}

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The accelerator: a name that nearfab near takes, or numa0 for buffers in the memory of a NUMA node. The default is every
    /// accelerator that this process can use.
    #[arg(value_name = "NAME")]
    of: Option<String>,
    /// Give each accelerator all of its nearest interfaces, also those that are as near to another accelerator.
    #[arg(long)]
    shared: bool,
    /// Give each accelerator the same number of interfaces, the least number of all: some collectives fail if the numbers differ.
    #[arg(long)]
    uniform: bool,
    /// Choose by PCIe path and NUMA node alone, and ignore the pairing that the vendor publishes.
    #[arg(long)]
    by_place: bool,
    /// Print what this program reads, and nothing else. GPUs have the numbers that CUDA gives them under the
    /// CUDA_VISIBLE_DEVICES of nearfab.
    #[arg(long = "for", value_name = "PROGRAM")]
    pub(crate) form: Option<Form>,
}

impl Arguments {
    fn options(&self) -> RailOptions {
        let mut options = RailOptions::default();
        if self.shared {
            options = options.shared();
        }
        if self.uniform {
            options = options.uniform();
        }
        if self.by_place {
            options = options.by_place();
        }
        options
    }
}

/// The answer in JSON.
#[derive(Serialize)]
struct Answer<'a> {
    instance_type: Option<&'a str>,
    rails: Vec<Rails>,
    /// The usable interfaces that no accelerator has.
    without_accelerator: Vec<Bdf>,
    rests_on: Vec<&'static Source>,
}

pub(crate) fn write(
    input: &Input,
    arguments: &Arguments,
    output: Output,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    let host = &input.host;
    if let Some(reason) = host.nothing_found().filter(|_| host.gpus().is_empty()) {
        return Err(Failure::Nothing(reason));
    }
    let options = arguments.options();
    let (rails, without_accelerator) = match &arguments.of {
        Some(of) => (vec![host.rails(host.anchor(of)?, options)?], Vec::new()),
        None => (host.all_rails(options), host.interfaces_without_accelerator()),
    };
    if let Some(form) = arguments.form {
        writeln!(out, "{}", text_for(form, input, &rails, err)?)?;
        return Ok(());
    }
    let rests_on = notes::sources(host, &notes::NEARNESS);
    let found = Answer { instance_type: host.instance_type(), rails, without_accelerator, rests_on };
    match output {
        Output::Json => answer("rails", &found, out)?,
        output => found.text(host, output == Output::Wide, out)?,
    }
    Ok(())
}

fn text_for(form: Form, input: &Input, rails: &[Rails], err: &mut dyn Write) -> Result<String, Failure> {
    let format = match form {
        Form::Mooncake => RailFormat::Mooncake,
        Form::Sglang => RailFormat::Sglang,
        Form::Vllm => RailFormat::Vllm,
        Form::Ucx => RailFormat::Ucx,
        Form::Uccl => RailFormat::Uccl,
        Form::Libfabric => RailFormat::Libfabric,
        Form::CpuMask => {
            let accelerators = u32::try_from(rails.len()).unwrap_or(u32::MAX);
            return Ok(make_plan(input, &PlanFlags::default(), accelerators, err)?.cpu_masks()?);
        }
    };
    Ok(input.host.rails_as(format, rails, &launch::visible_gpus(input)?)?)
}

impl Answer<'_> {
    fn text(&self, host: &Host, wide: bool, out: &mut dyn Write) -> io::Result<()> {
        head::write(host, out)?;
        writeln!(out)?;
        if self.rails.is_empty() {
            writeln!(out, "No accelerator can be used here.")?;
        } else {
            table(host, &self.rails, wide, out)?;
        }
        write_unusable(self.rails.iter().flat_map(|rails| &rails.passed_over), out)?;
        let missing: BTreeSet<(String, Bdf)> =
            self.rails.iter().filter_map(|rails| Some((rails.of.to_string(), rails.missing_pair?))).collect();
        for (of, pair) in missing {
            writeln!(
                out,
                "The table pairs {of} with {pair}, which this host does not have: its interfaces are chosen by PCIe path and NUMA node."
            )?;
        }
        if !self.without_accelerator.is_empty() && !self.rails.is_empty() {
            let names: Vec<String> = self.without_accelerator.iter().map(|&address| name(host, address)).collect();
            writeln!(out, "No accelerator has these interfaces as rails: {}.", names.join(", "))?;
        }
        notes::write(host, &notes::NEARNESS, out)
    }
}

fn table(host: &Host, all: &[Rails], wide: bool, out: &mut dyn Write) -> io::Result<()> {
    let each = |rails: &Rails, text: &dyn Fn(&Rail) -> String| {
        let texts: Vec<String> = rails.rails.iter().map(text).collect();
        let is_known = texts.iter().any(|text| text != UNKNOWN);
        or_unknown(is_known.then(|| texts.join(",")))
    };
    let efa = |rail: &Rail| host.find_efa(rail.near.target).ok();
    let numa = |rail: &Rail| or_unknown(efa(rail).and_then(|efa| efa.function.numa));
    let mut table = Table::of(all);
    table.add("OF", |rails| rails.of.to_string());
    table.add("EFA", |rails| each(rails, &|rail| rail.near.target.to_string()));
    table.add("RDMA", |rails| each(rails, &|rail| or_unknown(efa(rail).and_then(|efa| efa.rdma.as_ref()))));
    if wide {
        table.add("NODE", |rails| each(rails, &|rail| or_unknown(efa(rail).and_then(|efa| efa.node()))));
    }
    table.add("NUMA", |rails| {
        let nodes: BTreeSet<String> = rails.rails.iter().map(numa).collect();
        or_unknown((!nodes.is_empty()).then(|| nodes.into_iter().collect::<Vec<_>>().join(",")))
    });
    if all.iter().any(|rails| !matches!(rails.of, Anchor::Numa { .. })) {
        table.add("SHARED BY", |rails| or_unknown(rails.rails.iter().map(|rail| rail.shared_by).max()));
    }
    table.add("WHY", |rails| match rails.rails.first() {
        None => "no interface is known to be near, or none can be used".to_owned(),
        Some(rail) if rail.near.proximity == Proximity::Unknown => {
            "the NUMA nodes of the interfaces are unknown".to_owned()
        }
        Some(rail) => rail.near.evidence.to_string(),
    });
    table.write(out)
}

fn name(host: &Host, address: Bdf) -> String {
    match host.find_efa(address).ok().and_then(|efa| efa.rdma.as_ref()) {
        Some(rdma) => format!("{address} ({rdma})"),
        None => address.to_string(),
    }
}
