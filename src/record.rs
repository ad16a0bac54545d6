//! A recorded host: a host and its system in one file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::host::{Host, to_json};
use crate::redact::Redactor;
use crate::system::SystemInfo;

/// A host with its system, for a file. Another machine can examine or compare the record, and a user can send it with a
/// question.
///
/// The file has the form of [`Host::to_json`] and more members. [`Host::from_file`] also reads the file of a record,
/// and [`Record::from_file`] also reads the file of a host without its system.
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
    /// The system of the host: kernel, modules, libraries, limits. `None` for a host from a table, and for the file of
    /// a host without its system.
    pub system: Option<SystemInfo>,
    redacted: bool,
}

/// The members of a record that are not members of the host.
#[derive(Serialize, Deserialize)]
struct Rest {
    #[serde(default)]
    redacted: bool,
    // Versions before 0.2 wrote the member `surroundings`.
    #[serde(default, alias = "surroundings")]
    system: Option<SystemInfo>,
}

impl Record {
    /// Records a host, with its system and the [details](Host::with_details) of its devices as they are now.
    ///
    /// # Errors
    /// [`Error::Read`] if the root that the host was read from cannot be opened any more.
    pub fn take(host: &Host) -> Result<Self> {
        Ok(Self { host: host.with_details()?, system: SystemInfo::read(host)?, redacted: false })
    }

    /// Reads a record from the JSON of [`Record::to_json`] or [`Host::to_json`].
    ///
    /// # Errors
    /// [`Error::Record`] if the text is not a recorded host, or has a newer format.
    pub fn from_json(text: &str) -> Result<Self> {
        Self::parse(text, "the text")
    }

    /// Reads a record from a file.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read, [`Error::Record`] if it is not a recorded host.
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

    /// Returns the whole record as JSON. [`Record::from_json`] returns an equal record from this JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Form<'a, H> {
            schema: &'a str,
            #[serde(flatten)]
            host: &'a H,
            redacted: bool,
            system: &'a Option<SystemInfo>,
        }
        to_json(&Form { schema: "record", host: self.host.recorded(), redacted: self.redacted, system: &self.system })
    }

    /// Returns true if everything that identifies the machine or its owner has been replaced in this record.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        self.redacted
    }

    /// Returns the record without anything that identifies the machine or its owner, so that the record can be given to
    /// others.
    ///
    /// The copy has replacements for serial numbers, GUIDs and GIDs (which contain MAC addresses), instance ids, host
    /// names, network addresses, folders except the folders of the system and of AWS's packages, names and numbers of
    /// processes, and values of environment variables. The value of a variable stays if the variable is known to be
    /// harmless and the value consists of numbers and known words.
    ///
    /// Equal texts get equal replacements. PCI addresses, NUMA nodes and versions stay, so that the distances between
    /// devices stay the same.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let mut redactor = Redactor::default();
        let host = self.host.redacted(&mut redactor);
        let names = host.efa_interfaces().iter().filter_map(|efa| efa.rdma.as_deref());
        let names: Vec<&str> = names.chain(host.other_rdma().iter().map(|device| device.name.as_str())).collect();
        let system = self.system.as_ref().map(|system| system.redacted(&mut redactor, &names));
        Self { host, system, redacted: true }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::host::Origin;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a tree with one EFA function, a library, a folder of the loader, and files that cannot be understood.
    fn write_tree(root: &Path, folder: &str) {
        let function = "sys/bus/pci/devices/0000:c9:00.0";
        write(root, &format!("{function}/uevent"), "DRIVER=efa\nPCI_CLASS=20000\nPCI_ID=1D0F:EFA1\n");
        write(root, &format!("{function}/numa_node"), folder);
        write(root, "sys/module/efa/version", folder);
        write(root, "sys/module/neuron/version", folder);
        write(root, "etc/ld.so.conf", &format!("/home/{folder}/lib\n"));
        write(root, &format!("etc/ld.so.conf.d/{folder}.conf"), &format!("/srv/{folder}\n"));
        fs::create_dir(root.join(format!("etc/ld.so.conf.d/{folder} 2.conf"))).unwrap();
        write(root, "usr/lib/libfabric.so.1", "");
        symlink(format!("/home/{folder}/libnrt.so.2.34"), root.join("usr/lib/libnrt.so.2")).unwrap();
        write(root, "proc/sys/kernel/yama/ptrace_scope", folder);
        write(root, "proc/sys/kernel/osrelease", folder);
        fs::create_dir(root.join("sys/module/ib_core")).unwrap();
        write(root, "sys/module/ib_core/parameters/netns_mode", folder);
    }

    #[test]
    fn tree_below_a_folder_that_is_not_utf_8_is_recorded_whole() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join(OsStr::from_bytes(b"caf\xe9 \xff"));
        fs::create_dir(&root).unwrap();
        write_tree(&root, "x");
        let host = Host::from_root(&root).unwrap();
        assert_eq!(*host.origin(), Origin::Tree { root: root.clone() });
        assert_eq!(Host::from_json(&host.to_json()).unwrap(), host);
        assert_eq!(serde_json::from_value::<Host>(serde_json::to_value(&host).unwrap()).unwrap(), host);
        let record = Record::take(&host).unwrap();
        assert_eq!(Record::from_json(&record.to_json()).unwrap(), record);
        let file = parent.path().join("record.json");
        fs::write(&file, record.to_json()).unwrap();
        assert_eq!(Record::from_file(&file).unwrap(), record);
        let redacted = record.redacted().to_json();
        assert!(redacted.contains("/redacted-1") && !redacted.contains("caf"), "{redacted}");
    }

    #[test]
    fn host_is_deserialized_with_the_checks_of_a_record() {
        let host = Host::from_instance("trn1.32xlarge").unwrap();
        let value = serde_json::to_value(&host).unwrap();
        assert_eq!(serde_json::from_value::<Host>(value.clone()).unwrap(), host);
        let refusal = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut value = value.clone();
            change(&mut value);
            let error = serde_json::from_value::<Host>(value.clone()).unwrap_err().to_string();
            let text = Host::from_json(&value.to_string()).unwrap_err().to_string();
            assert!(text.ends_with(&error), "{text:?} and {error:?}");
            error
        };
        assert!(refusal(&|value| value["format"] = 2.into()).contains("its format is 2"));
        assert!(refusal(&|value| value["neuron"][1]["index"] = 0.into()).contains("neuron0 is listed twice"));
        assert!(refusal(&|value| value["neuron"][1]["cores"] = 4096.into()).contains("neuron1 has 4096 cores"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn no_word_of_a_folder_s_name_stays_in_a_redacted_record(
            name in "zq[a-z]{2,6}([ ,;:=()\"'.-]|: |, found \"|: expected )zq[a-z]{2,6}",
        ) {
            let parent = tempfile::tempdir().unwrap();
            let root: PathBuf = parent.path().join(&name).join("tree");
            fs::create_dir_all(&root).unwrap();
            write_tree(&root, &name);
            let record = Record::take(&Host::from_root(&root).unwrap()).unwrap();
            prop_assert!(!record.host.problems().is_empty());
            prop_assert!(record.system.as_ref().is_some_and(|system| !system.problems.is_empty()), "{:?}", record.system);
            let json = record.to_json();
            let redacted = record.redacted().to_json();
            let parent = parent.path().file_name().unwrap().to_str().unwrap();
            for word in name.split(|c: char| !c.is_alphanumeric()).filter(|word| word.starts_with("zq")).chain([parent]) {
                prop_assert!(json.contains(word), "{word:?} is not in {json}");
                prop_assert!(!redacted.contains(word), "{word:?} is in {redacted}");
            }
        }
    }
}
