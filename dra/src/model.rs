//! The device model: what the driver publishes of a host.
//!
//! Names, types, classes, attributes, counters and configuration are an interface that claims rely on;
//! `docs/decisions/0010-device-model.md` says how it was chosen. From the bottom up: [`mod@unit`] (what is allocated as one
//! device), [`options`] (what the operator and the server choose), [`hardware`] (the devices of a host and their
//! pieces), [`attributes`] and [`counters`], [`slices`] (pools as ResourceSlices), [`own`] and [`aws`] (the devices
//! under the driver's own name, and under the names of AWS's drivers), [`keeping`] (claims that hold devices),
//! [`classes`] and [`configuration`] (what a claim can name).

pub mod attributes;
pub mod aws;
pub mod classes;
pub mod configuration;
pub mod counters;
pub mod hardware;
pub mod keeping;
pub mod options;
pub mod own;
pub mod slices;
pub mod unit;

use nearfab::Host;

use self::hardware::Hardware;
use self::options::{Form, Options, ServerVersion};
use self::slices::Pool;
use self::unit::Unit;
use crate::DRIVER;

/// What the driver publishes of a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// One pool for each name of a driver.
    pub pools: Vec<Pool>,
    /// What is not published, and why: one sentence each.
    pub problems: Vec<String>,
}

impl Model {
    /// Returns the model of a host for a server.
    ///
    /// ```
    /// use nearfab::Host;
    /// use nearfab_dra::model::Model;
    /// use nearfab_dra::model::options::{Options, ServerVersion};
    /// # let dir = tempfile::tempdir()?;
    /// # let table = nearfab::instances::InstanceTable::find("trn1.32xlarge")?;
    /// # nearfab_emu::write_tree_with(table, &[nearfab_emu::Defect::NoCoreStatistics], dir.path())?;
    /// # let root = dir.path();
    /// let host = Host::from_root(root)?; // a trn1.32xlarge
    /// let model = Model::new(&host, "node1", Options::default(), ServerVersion::OVERLAPPING);
    /// assert_eq!(model.pools[0].devices.len(), 16 + 8);
    /// assert_eq!(model.pools[0].devices[5].name, "neuron-5");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn new(host: &Host, node: &str, options: Options, server: ServerVersion) -> Self {
        let hardware = Hardware::of(host, options.hardware);
        let possible = options.for_server(server);
        let mut problems = hardware.problems().to_vec();
        if possible != options {
            problems.push(format!(
                "partitions and shared interfaces are not published: the API server has version {server}, and they need \
                 {} or later",
                ServerVersion::OVERLAPPING
            ));
        }
        let pools = match possible.form {
            Form::Own { partitions, efa } => {
                let (pool, problem) = own::pool(&hardware, node, partitions, efa);
                problems.extend(problem);
                vec![pool]
            }
            Form::Aws => aws::pools(&hardware, node),
        };
        Self { pools, problems }
    }
}

/// Returns the unit that a driver's device is, by its name; `None` for a name that no version of the driver gives.
#[must_use]
pub fn unit_of(driver: &str, name: &str) -> Option<Unit> {
    match driver {
        DRIVER => name.parse().ok(),
        _ => aws::unit_of(driver, name),
    }
}

/// Returns the name of the node's pool of the driver `nearfab.dev`. The name is not the node's name alone: before
/// Kubernetes 1.37 the scheduler mixes the counters of two drivers whose pools have one name (kubernetes#140434).
#[must_use]
pub fn pool_name(node: &str) -> String {
    format!("{DRIVER}/{node}")
}
