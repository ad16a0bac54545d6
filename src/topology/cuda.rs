//! The GPUs that CUDA shows a process, by the environment variables of the process.

use crate::error::{Error, Result};
use crate::host::Host;
use crate::scan::gpu::Gpu;
use crate::types::{Bdf, number};

/// The value of `CUDA_DEVICE_ORDER` under which CUDA numbers GPUs by PCI address.
const BY_ADDRESS: &str = "PCI_BUS_ID";

impl Host {
    /// Returns the GPUs that CUDA shows a process with these values of `CUDA_VISIBLE_DEVICES` and `CUDA_DEVICE_ORDER`, in
    /// CUDA's order: the first is device 0 of the process. Pass `None` for a variable that is not set.
    ///
    /// `CUDA_VISIBLE_DEVICES` has numbers, UUIDs or the beginnings of UUIDs. Numbers count the GPUs that this process can
    /// open: by PCI address if the order is `PCI_BUS_ID`, or if all GPUs are of one model. An entry `-1` ends the list.
    /// `NVIDIA_VISIBLE_DEVICES` is not read: it tells a container runtime which device nodes to create, and the nodes are
    /// read.
    ///
    /// ```
    /// use nearfab::Host;
    /// let host = Host::from_instance("p5.48xlarge")?;
    /// let gpus = host.cuda_gpus(Some("1,0"), None)?;
    /// assert_eq!(gpus, ["0000:64:00.0".parse()?, "0000:53:00.0".parse()?]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] if an entry names no GPU that this process can open: CUDA would leave out this entry and
    /// all that follow. [`Error::BadName`] if an entry has another form, names a part of a GPU (MIG), names several GPUs,
    /// or names a GPU again, or if numbers have no known order because the GPUs are of several models.
    pub fn cuda_gpus(&self, visible_devices: Option<&str>, device_order: Option<&str>) -> Result<Vec<Bdf>> {
        let gpus: Vec<&Gpu> = self.visible_gpus().collect();
        let Some(list) = visible_devices else { return Ok(gpus.iter().map(|gpu| gpu.address()).collect()) };
        let is_ordered =
            device_order == Some(BY_ADDRESS) || gpus.windows(2).all(|pair| pair[0].function.id == pair[1].function.id);
        let mut chosen: Vec<Bdf> = Vec::new();
        for entry in list.split(',').map(str::trim).filter(|_| !list.trim().is_empty()) {
            let refused = |expected| Error::BadName { text: entry.to_owned(), expected };
            let gpu = match entry {
                "-1" => break,
                _ if entry.starts_with("MIG-") => {
                    return Err(refused(
                        "a whole GPU in CUDA_VISIBLE_DEVICES: nearfab does not divide a GPU into MIG instances",
                    ));
                }
                _ if entry.starts_with("GPU-") => by_uuid(&gpus, entry)?,
                _ => {
                    let number: usize = number(entry).ok_or_else(|| {
                        refused("a number of a GPU, or a UUID such as GPU-5d2c, in CUDA_VISIBLE_DEVICES")
                    })?;
                    if !is_ordered {
                        return Err(refused(
                            "the UUID of a GPU in CUDA_VISIBLE_DEVICES, or CUDA_DEVICE_ORDER=PCI_BUS_ID: the GPUs are of \
                             several models, and CUDA numbers the fastest first",
                        ));
                    }
                    gpus.get(number).copied().ok_or_else(|| absent(entry, &gpus))?
                }
            };
            if chosen.contains(&gpu.address()) {
                return Err(refused("each GPU once in CUDA_VISIBLE_DEVICES: CUDA shows no GPU if one is named twice"));
            }
            chosen.push(gpu.address());
        }
        Ok(chosen)
    }
}

/// Returns the only GPU whose UUID begins with this text.
fn by_uuid<'a>(gpus: &[&'a Gpu], text: &str) -> Result<&'a Gpu> {
    let mut found = gpus.iter().filter(|gpu| gpu.has_uuid(text));
    match (found.next(), found.next()) {
        (Some(gpu), None) => Ok(gpu),
        (None, _) => Err(absent(text, gpus)),
        (Some(_), Some(_)) => Err(Error::BadName {
            text: text.to_owned(),
            expected: "more of the UUID in CUDA_VISIBLE_DEVICES: several GPUs have a UUID that begins so",
        }),
    }
}

fn absent(entry: &str, gpus: &[&Gpu]) -> Error {
    let name = |(number, gpu): (usize, &&Gpu)| match &gpu.uuid {
        Some(uuid) => format!("{number} ({uuid})"),
        None => number.to_string(),
    };
    let present: Vec<String> = gpus.iter().enumerate().map(name).collect();
    Error::NoSuchDevice {
        wanted: format!("GPU {entry} of CUDA_VISIBLE_DEVICES that this process can open"),
        present: if present.is_empty() { "no GPU".to_owned() } else { format!("the GPUs {}", present.join(", ")) },
    }
}
