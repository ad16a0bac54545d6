//! Where a host comes from, and whether its driver is asked.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use nearfab::probe::{Probe, ProbeOptions};
use nearfab::{Host, Record};

use crate::failure::Failure;

#[derive(Args)]
pub(crate) struct Source {
    #[command(flatten)]
    origin: Origin,
    /// Ask the Neuron driver as well, which opens device nodes: where each device is, which cores are held. On a part of an
    /// UltraServer or pod only if told even-on-pods, since others on it feel that.
    #[arg(long, global = true, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "alone")]
    probe: Option<Probing>,
    /// With --probe: ask as well which processes have each device open, which takes one of its 16 places for a moment, and
    /// waits while it is in reset.
    #[arg(long, global = true, requires = "probe")]
    processes: bool,
}

#[derive(Args)]
#[group(multiple = false)]
struct Origin {
    /// Look at the sys and dev below this folder instead of /.
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Look at no machine but at what is known of this instance type, such as trn2.48xlarge.
    #[arg(long, global = true, value_name = "TYPE")]
    instance: Option<String>,
    /// Look at a host recorded by `nearfab record` or `nearfab list -o json`.
    #[arg(long, global = true, value_name = "FILE")]
    host: Option<PathBuf>,
}

/// The machines whose driver may be asked.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Probing {
    /// Those that stand alone.
    Alone,
    /// Parts of UltraServers and pods too.
    EvenOnPods,
}

/// A host, and what its driver said where it was asked.
pub(crate) struct Seen {
    pub(crate) host: Host,
    pub(crate) probe: Option<Probe>,
    file: Option<PathBuf>,
}

impl Seen {
    /// The host with what is around it: as it was recorded with the host, or as it is.
    pub(crate) fn record(&self) -> nearfab::Result<Record> {
        match &self.file {
            Some(file) => Record::from_file(file),
            None => Record::take(&self.host),
        }
    }
}

impl Source {
    pub(crate) fn look(&self) -> nearfab::Result<Seen> {
        let host = self.origin.host()?;
        let file = self.origin.host.clone();
        if self.probe.is_none() {
            return Ok(Seen { host, probe: None, file });
        }
        let options = if self.processes { self.probing().with_processes() } else { self.probing() };
        let probe = nearfab::probe(&host, options)?;
        Ok(Seen { host: host.with_probed_addresses(&probe), probe: Some(probe), file })
    }

    /// How the driver may be asked here.
    pub(crate) fn probing(&self) -> ProbeOptions {
        let options = ProbeOptions::default();
        if self.probe == Some(Probing::EvenOnPods) { options.even_on_pods() } else { options }
    }

    /// Refuses hosts that are not there: what is started has to find the CPUs and devices that it is bound to.
    pub(crate) fn refuse_other_than_files(&self, command: &str) -> Result<(), Failure> {
        match (&self.origin.instance, &self.origin.host) {
            (None, None) => Ok(()),
            _ => Err(Failure::launch(format!(
                "{command} starts on this machine, which a table or a record is not; nearfab plan and nearfab run --dry-run \
                 show what would be started"
            ))),
        }
    }
}

impl Origin {
    fn host(&self) -> nearfab::Result<Host> {
        match (&self.root, &self.instance, &self.host) {
            (Some(root), ..) => Host::from_root(root),
            (_, Some(instance_type), _) => Host::from_instance(instance_type),
            (.., Some(file)) => Host::from_file(file),
            _ => Host::discover(),
        }
    }
}
