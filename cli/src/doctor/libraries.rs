//! The vendors' libraries: installed, found by the loader, and mapped by a process.

use nearfab::system::{InstalledLibrary, Library, MappedLibrary};

use super::case::{Case, Skip, name_of};
use super::finding::{Check, Complaint, Finding};

const NO_LIBFABRIC: Complaint = Complaint {
    id: "libfabric-missing",
    means: "MPI, NCCL and NIXL reach EFA through libfabric. None is where installers put it; a container or a wheel may bring its own.",
    action: "Install AWS's EFA software (/opt/amazon/efa), in the image where programs run in containers.",
    source: "AWS, EFA guide.",
};
const SEVERAL_LIBFABRICS: Complaint = Complaint {
    id: "libfabric-several",
    means: "Which of them a program gets is decided by its own search path and the loader's. A distribution's is older, and may not know \
            the interfaces of this instance.",
    action: "Put the folder of the wanted one first (LD_LIBRARY_PATH, or a file in /etc/ld.so.conf.d and ldconfig). nearfab doctor --pid \
             PID shows which one a process has.",
    source: "This host; Debian 12 has libfabric 1.17.",
};
const NO_RUNTIME: Complaint = Complaint {
    id: "runtime-missing",
    means: "libnrt, the Neuron runtime, is not where AWS's package puts it; a container or a wheel may bring its own.",
    action: "Install aws-neuronx-runtime-lib, in the image where programs run in containers.",
    source: "AWS Neuron documentation.",
};
const NO_NCCOM: Complaint = Complaint {
    id: "collectives-missing",
    means: "The runtime is there and libnccom is not: collectives over several devices or hosts do not start.",
    action: "Install aws-neuronx-collectives, of the same release as the runtime.",
    source: "AWS Neuron documentation: aws-neuronx-collectives.",
};
const NOT_FOUND: Complaint = Complaint {
    id: "runtime-not-on-loader-path",
    means: "libfabric opens libnrt.so.1 by name when device memory is registered. Where the loader does not find it and the program has \
            not loaded it before, registering memory of Neuron devices fails (-38, not implemented).",
    action: "Add /opt/aws/neuron/lib to /etc/ld.so.conf.d and run ldconfig, or to LD_LIBRARY_PATH.",
    source: "libfabric, hmem_neuron.c; Mooncake pull request 3888.",
};
const NOT_ON_PATH: Complaint = Complaint {
    id: "tools-not-on-path",
    means: "The vendor's programs are installed and not found by name: profiles of AWS's images add them for login shells, sudo and \
            services do without.",
    action: "Call them by their whole path, or add the folder to PATH.",
    source: "aws-neuron-sdk issues on neuron-ls under sudo and systemd.",
};
const TWICE: Complaint = Complaint {
    id: "library-mapped-twice",
    means: "Two copies of one library are in the process, each with a state of its own. The second libfabric gets an empty list of EFA \
            interfaces, and NCCL goes over TCP without a word; two runtimes fight about the devices.",
    action: "Keep one: remove the copy that a wheel brought, or let LD_LIBRARY_PATH and LD_PRELOAD lead all to the same file.",
    source: "Mooncake pull request 2271.",
};
const REPLACED: Complaint = Complaint {
    id: "library-replaced",
    means: "The file was replaced under the process, by an update: it runs the old one, and a second loading gets the new one beside it.",
    action: "Restart the process.",
    source: "Linux, proc(5): (deleted) in maps.",
};

pub(super) const INSTALLED: Check = Check {
    name: "installed libraries",
    complaints: || vec![NO_LIBFABRIC, SEVERAL_LIBFABRICS, NO_RUNTIME, NO_NCCOM],
    run: installed,
};
pub(super) const LOADER: Check =
    Check { name: "search paths", complaints: || vec![NOT_FOUND, NOT_ON_PATH], run: loader };
pub(super) const MAPPED: Check =
    Check { name: "libraries of the process", complaints: || vec![TWICE, REPLACED], run: mapped };

/// Where the loader looks without being told.
const DEFAULT_FOLDERS: [&str; 6] =
    ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
/// Those of which a second copy does harm.
const ONCE: [Library; 4] = [Library::Libfabric, Library::Libnrt, Library::Libibverbs, Library::Libefa];

fn installed(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    let host = case.machine()?;
    let (has_efa, has_neuron) = (!host.efa().is_empty(), !host.neuron().is_empty());
    if !has_efa && !has_neuron {
        return Err(Skip::NotHere("no device"));
    }
    let all = &case.around()?.libraries;
    let paths = |library| -> Vec<String> {
        all.iter().filter(|each| each.library == library).map(|each| each.path.clone()).collect()
    };
    let (fabrics, runtimes) = (paths(Library::Libfabric), paths(Library::Libnrt));
    let mut found = Vec::new();
    if has_efa {
        match &fabrics[..] {
            [] => found.push(NO_LIBFABRIC.note(Vec::new(), "no libfabric in /opt/amazon/efa or the system's folders")),
            [_] => {}
            several => found.push(SEVERAL_LIBFABRICS.note(fabrics.clone(), format!("{} are installed", several.len()))),
        }
    }
    if has_neuron && runtimes.is_empty() {
        found.push(NO_RUNTIME.note(Vec::new(), "no libnrt in /opt/aws/neuron/lib or the system's folders"));
    }
    if has_neuron && has_efa && !runtimes.is_empty() && paths(Library::Libnccom).is_empty() {
        found.push(NO_NCCOM.warning(runtimes, "no libnccom beside the runtime"));
    }
    Ok(found)
}

fn loader(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    case.neuron()?;
    let around = case.around()?;
    let searched = case.variable("LD_LIBRARY_PATH").unwrap_or_default();
    let finds = |library: &&InstalledLibrary| {
        let folder = library.folder();
        DEFAULT_FOLDERS.contains(&folder)
            || around.loader_folders.iter().any(|known| known == folder)
            || lists(searched, folder)
    };
    let runtimes: Vec<&InstalledLibrary> =
        around.libraries.iter().filter(|library| library.library == Library::Libnrt).collect();
    let mut found = Vec::new();
    if !runtimes.is_empty() && !runtimes.iter().any(finds) {
        let subjects = runtimes.iter().map(|library| library.path.clone()).collect();
        found.push(NOT_FOUND.warning(subjects, "its folder is neither in /etc/ld.so.conf.d nor in LD_LIBRARY_PATH"));
    }
    if let Some(path) = case.variable("PATH") {
        let hidden = |program: &&String| program.rsplit_once('/').is_some_and(|(folder, _)| !lists(path, folder));
        let subjects: Vec<String> = around.programs.iter().filter(hidden).cloned().collect();
        if !subjects.is_empty() {
            found.push(NOT_ON_PATH.note(subjects, "the folder is not in PATH"));
        }
    }
    Ok(found)
}

/// Whether a list of folders with colons has this one.
fn lists(folders: &str, folder: &str) -> bool {
    folders.split(':').any(|listed| listed.trim_end_matches('/') == folder)
}

fn mapped(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    let process = case.process()?;
    if process.pid.is_none() {
        return Err(Skip::NotKnown("no process was named: --pid".to_owned()));
    }
    let libraries = process.libraries.as_ref();
    let libraries = libraries.ok_or_else(|| {
        Skip::NotKnown("what the process has mapped may be read by its user and root only".to_owned())
    })?;
    let paths = |those: Vec<&MappedLibrary>| those.iter().map(|each| each.path.as_str()).collect::<Vec<_>>().join(", ");
    let mut found = Vec::new();
    for library in ONCE {
        let copies: Vec<&MappedLibrary> = libraries.iter().filter(|each| each.library == library).collect();
        if copies.len() > 1 {
            found.push(TWICE.problem(name_of(process), format!("{library} is mapped from {}", paths(copies))));
        }
    }
    let deleted: Vec<&MappedLibrary> = libraries.iter().filter(|each| each.deleted).collect();
    if !deleted.is_empty() {
        found.push(REPLACED.warning(name_of(process), format!("deleted since: {}", paths(deleted))));
    }
    Ok(found)
}
