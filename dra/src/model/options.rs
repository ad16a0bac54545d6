//! What the operator chooses to publish, and what the API server can hold.

use std::fmt;
use std::str::FromStr;

/// What the driver publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The hardware to publish: many nodes have another driver for the other half.
    pub hardware: Published,
    /// The form of the devices.
    pub form: Form,
}

/// The hardware that the driver publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Neuron devices and EFA interfaces.
    Both,
    /// Neuron devices only.
    Neuron,
    /// EFA interfaces only.
    Efa,
}

/// The form in which the devices are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As devices of the driver `nearfab.dev`.
    Own {
        /// Publishes halves, logical cores, groups and the whole node beside the whole devices.
        partitions: bool,
        /// The form of the EFA interfaces.
        efa: EfaForm,
    },
    /// As devices of AWS's drivers `neuron.aws.com` and `dra.net`, with the names and attributes of those drivers.
    Aws,
}

/// The form in which EFA interfaces are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EfaForm {
    /// Each interface as a device.
    Single,
    /// Each interface as a device that several claims can share.
    Shared,
    /// The interfaces of each accelerator as one device, instead of single interfaces. A claim holds at most 32
    /// devices: p5.48xlarge has 8 GPUs and 32 interfaces, and fits a claim as 8 sets.
    Sets,
}

impl Default for Options {
    /// Each whole Neuron device and each EFA interface once. No known defect of Kubernetes touches such devices.
    fn default() -> Self {
        Self { hardware: Published::Both, form: Form::Own { partitions: false, efa: EfaForm::Single } }
    }
}

impl Options {
    /// Returns the options for a server: an older server gets neither overlapping nor shared devices. Kubernetes 1.34
    /// drops counters without an error, so that everything that overlaps can be allocated at once. The allocator of
    /// 1.35 to 1.36.2 forgets shared devices that consume counters (kubernetes#139034) and refuses claims that fit
    /// (kubernetes#140436).
    #[must_use]
    pub fn for_server(self, server: ServerVersion) -> Self {
        let Form::Own { efa, .. } = self.form else { return self };
        if server >= ServerVersion::OVERLAPPING {
            return self;
        }
        let efa = if efa == EfaForm::Shared { EfaForm::Single } else { efa };
        Self { form: Form::Own { partitions: false, efa }, ..self }
    }
}

/// A version of a Kubernetes API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerVersion {
    numbers: [u32; 3],
    /// False for a pre-release, which is earlier than the release.
    is_release: bool,
}

impl ServerVersion {
    /// The first version whose allocator has no known defect that gives a device out twice, or refuses a claim that
    /// fits, because of counters or sharing.
    pub const OVERLAPPING: Self = Self { numbers: [1, 36, 3], is_release: true };
}

/// A text that is no version of an API server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the API server's version is {0:?}, and a version such as \"v1.37.2\" was expected")]
pub struct BadVersion(String);

/// Parses the `gitVersion` of `/version`, such as `v1.37.2`, `v1.34.1-eks-3025e55` or `v1.37.0-beta.0`.
///
/// ```
/// use nearfab_dra::model::options::ServerVersion;
/// let version: ServerVersion = "v1.36.3-eks-3025e55".parse()?;
/// assert!(version >= ServerVersion::OVERLAPPING);
/// # Ok::<(), nearfab_dra::model::options::BadVersion>(())
/// ```
impl FromStr for ServerVersion {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let bad = || BadVersion(text.to_owned());
        let version = text.strip_prefix('v').unwrap_or(text);
        let (numbers, suffix) = version.split_at(version.find(['-', '+']).unwrap_or(version.len()));
        let numbers: Vec<u32> = numbers.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| bad())?;
        let numbers = numbers.try_into().map_err(|_| bad())?;
        let is_pre_release = ["-alpha", "-beta", "-rc"].iter().any(|name| suffix.starts_with(name));
        Ok(Self { numbers, is_release: !is_pre_release })
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        if self.is_release { Ok(()) } else { f.write_str(" (a pre-release)") }
    }
}
