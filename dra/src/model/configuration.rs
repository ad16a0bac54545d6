//! The configuration that a claim or a device class gives to a device: opaque parameters for the driver.

use serde::Deserialize;
use serde_json::Value;

use super::aws;
use crate::DRIVER;

/// The configuration of a request's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configuration {
    /// `NeuronConfig`: how many physical cores form a logical core in the containers of the claim.
    Neuron {
        /// 1 or 2: the value of `NEURON_LOGICAL_NC_CONFIG` in the containers.
        logical_neuron_core: u32,
    },
}

/// Why opaque parameters are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadConfiguration {
    /// The parameters have a kind that the driver does not take.
    #[error("unknown configuration: apiVersion {api_version:?}, kind {kind:?}; {driver} takes {expected}")]
    Kind {
        /// The driver.
        driver: String,
        /// The `apiVersion` of the parameters.
        api_version: String,
        /// The `kind` of the parameters.
        kind: String,
        /// What the driver takes.
        expected: &'static str,
    },
    /// UltraServers are not supported.
    #[error(
        "UltraServerConfig is not supported: nearfab gives out the devices of one server; for a job on several servers \
         of an UltraServer, use AWS's driver"
    )]
    UltraServer,
    /// A field is missing or unknown.
    #[error("invalid configuration: {0}")]
    Fields(String),
    /// `logicalNeuronCore` has a value that no runtime takes.
    #[error("invalid NeuronConfig: logicalNeuronCore is {0}, and 1 or 2 was expected")]
    LogicalNeuronCore(u32),
}

/// The fields of every configuration.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    api_version: String,
    kind: String,
}

/// `NeuronConfig`. An unknown field is an error: the author of a claim would otherwise believe that it has an effect.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NeuronConfig {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    logical_neuron_core: u32,
}

impl Configuration {
    /// Parses the opaque parameters for one of the driver's names.
    ///
    /// ```
    /// use nearfab_dra::model::configuration::Configuration;
    /// let parameters = serde_json::json!({
    ///     "apiVersion": "nearfab.dev/v1", "kind": "NeuronConfig", "logicalNeuronCore": 1,
    /// });
    /// let configuration = Configuration::parse("nearfab.dev", &parameters)?;
    /// assert_eq!(configuration, Configuration::Neuron { logical_neuron_core: 1 });
    /// # Ok::<(), nearfab_dra::model::configuration::BadConfiguration>(())
    /// ```
    ///
    /// # Errors
    /// When the driver does not take the kind, a field is missing or unknown, or a value is bad.
    pub fn parse(driver: &str, parameters: &Value) -> Result<Self, BadConfiguration> {
        let fields = |error: serde_json::Error| BadConfiguration::Fields(error.to_string());
        let Header { api_version, kind } = Header::deserialize(parameters).map_err(fields)?;
        let (expected_version, expected) = match driver {
            DRIVER => (Some("nearfab.dev/v1"), "nearfab.dev/v1 NeuronConfig"),
            aws::NEURON => (Some("neuron.aws.com/v1"), "neuron.aws.com/v1 NeuronConfig"),
            _ => (None, "no configuration"),
        };
        if kind == "UltraServerConfig" {
            return Err(BadConfiguration::UltraServer);
        }
        if expected_version != Some(api_version.as_str()) || kind != "NeuronConfig" {
            return Err(BadConfiguration::Kind { driver: driver.to_owned(), api_version, kind, expected });
        }
        let NeuronConfig { logical_neuron_core, .. } = NeuronConfig::deserialize(parameters).map_err(fields)?;
        match logical_neuron_core {
            1 | 2 => Ok(Self::Neuron { logical_neuron_core }),
            other => Err(BadConfiguration::LogicalNeuronCore(other)),
        }
    }
}
