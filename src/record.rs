//! A host and what is around it, in one file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::redact::Redactor;
use crate::system::SystemInfo;

/// One host with its system, as a file keeps it: to look at elsewhere, to compare, to send with a question.
///
/// The file is the host's own record with more in it: [`Host::from_file`] reads it too, and this reads what
/// [`Host::to_json`] wrote, which has no system.
///
/// ```
/// use nearfab::{Host, Record};
///
/// let host = Host::from_instance("trn2.48xlarge")?; // on an instance: Host::discover()?
/// let record = Record::take(&host)?.redacted();
/// let read = Record::from_json(&record.to_json())?;
/// assert!(read.is_redacted());
/// assert_eq!(Host::from_json(&record.to_json())?, read.host);
/// # Ok::<(), nearfab::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// The host.
    pub host: Host,
    /// What is around it; `None` for a table, and in records that have the host alone.
    pub system: Option<SystemInfo>,
    redacted: bool,
}

/// What a record has beside the host.
#[derive(Serialize, Deserialize)]
struct Rest {
    #[serde(default)]
    redacted: bool,
    // Recorded hosts from before 0.2 have it as `surroundings`.
    #[serde(default, alias = "surroundings")]
    system: Option<SystemInfo>,
}

impl Record {
    /// Reads what is around a host, now.
    ///
    /// # Errors
    /// [`Error::Read`] where the root that the host was read from cannot be opened any more.
    pub fn take(host: &Host) -> Result<Self> {
        Ok(Self { host: host.clone(), system: SystemInfo::read(host)?, redacted: false })
    }

    /// Reads back what [`Record::to_json`] or [`Host::to_json`] wrote.
    ///
    /// # Errors
    /// [`Error::Record`] where the text is no recorded host, or one of a newer format.
    pub fn from_json(text: &str) -> Result<Self> {
        Self::parse(text, "the text")
    }

    /// Reads a record from a file.
    ///
    /// # Errors
    /// [`Error::Read`] where the file cannot be read, [`Error::Record`] where it is no recorded host.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
        Self::parse(&text, &path.display().to_string())
    }

    fn parse(text: &str, origin: &str) -> Result<Self> {
        let host = Host::parse(text, origin)?;
        let bad = |e: serde_json::Error| Error::Record { origin: origin.to_owned(), reason: e.to_string() };
        let Rest { redacted, system } = serde_json::from_str(text).map_err(bad)?;
        Ok(Self { host, system, redacted })
    }

    /// The record as JSON, complete.
    #[must_use]
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Form<'a, H> {
            #[serde(flatten)]
            host: &'a H,
            redacted: bool,
            system: &'a Option<SystemInfo>,
        }
        let form = Form { host: self.host.form(), redacted: self.redacted, system: &self.system };
        // There are no maps with odd keys and no failing serializers in it, the only ways for this to fail.
        serde_json::to_string_pretty(&form).unwrap_or_default()
    }

    /// Whether it is without what identifies the machine and its owner.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        self.redacted
    }

    /// The record without what identifies the machine or its owner, to be given to others.
    ///
    /// Serial numbers, GUIDs and GIDs (which hold MAC addresses), instance ids, host names, network addresses, folders that
    /// are not those of the system or of AWS's packages, names and numbers of processes, and values of environment
    /// variables are replaced; of the latter those stay that are numbers or known words of variables that are known to be
    /// harmless. What was equal stays equal. PCI addresses, NUMA nodes and versions stay, so that the questions of what is near what
    /// have the same answers.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let mut redactor = Redactor::default();
        let host = self.host.redacted(&mut redactor);
        let names = host.efa().iter().filter_map(|efa| efa.rdma.as_deref());
        let names: Vec<&str> = names.chain(host.other_rdma().iter().map(|device| device.name.as_str())).collect();
        let system = self.system.as_ref().map(|around| around.redacted(&mut redactor, &names));
        Self { host, system, redacted: true }
    }
}
