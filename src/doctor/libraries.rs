//! Checks of the vendor libraries: installed, found by the loader, and mapped by a process.

use crate::system::{InstalledLibrary, Library, MappedLibrary, Process, SymbolVersions};

use super::finding::{Check, Finding, FindingKind, Severity};
use super::input::{Input, Skip, name_of};

const NO_LIBFABRIC: FindingKind = FindingKind {
    id: "libfabric-missing",
    means: "MPI, NCCL and NIXL use EFA through libfabric. libfabric is not in the folders that installers use. A container \
            or a Python wheel may have its own copy.",
    action: "Install AWS's EFA software (/opt/amazon/efa). If programs run in containers, install it in their image.",
    source: "AWS, EFA guide.",
};
const SEVERAL_LIBFABRICS: FindingKind = FindingKind {
    id: "libfabric-several",
    means: "The search path of a program and that of the loader decide which libfabric the program gets. The libfabric of a \
            Linux distribution is older and may not support the interfaces of this instance.",
    action: "Put the folder of the wanted libfabric first (LD_LIBRARY_PATH, or a file in /etc/ld.so.conf.d and ldconfig). \
             nearfab doctor --pid PID shows which libfabric a process has.",
    source: "The libraries of this host; Debian 12 has libfabric 1.17.",
};
const NO_RUNTIME: FindingKind = FindingKind {
    id: "runtime-missing",
    means: "libnrt, the Neuron runtime, is not in the folder that AWS's package uses. A container or a Python wheel may have \
            its own copy.",
    action: "Install aws-neuronx-runtime-lib. If programs run in containers, install it in their image.",
    source: "AWS Neuron documentation.",
};
const NO_NCCOM: FindingKind = FindingKind {
    id: "collectives-missing",
    means: "The Neuron runtime is installed, but libnccom is not. Collectives over several devices or hosts do not start.",
    action: "Install aws-neuronx-collectives of the same release as the runtime.",
    source: "AWS Neuron documentation: aws-neuronx-collectives.",
};
const NOT_FOUND: FindingKind = FindingKind {
    id: "runtime-not-on-loader-path",
    means: "When a program registers Neuron device memory, libfabric opens libnrt.so.1 by name. If the loader does not find \
            it and the program has not loaded it, the registration fails (-38, not implemented).",
    action: "Add /opt/aws/neuron/lib to /etc/ld.so.conf.d and run ldconfig, or add the folder to LD_LIBRARY_PATH.",
    source: "libfabric, hmem_neuron.c; Mooncake pull request 3888.",
};
const NOT_ON_PATH: FindingKind = FindingKind {
    id: "tools-not-on-path",
    means: "The vendor's programs are installed, but their folder is not in PATH. The profiles of AWS's images add the \
            folder for login shells only, not for sudo and services.",
    action: "Call the programs by their full path, or add the folder to PATH.",
    source: "aws-neuron-sdk issues on neuron-ls under sudo and systemd.",
};
const TWICE: FindingKind = FindingKind {
    id: "library-mapped-twice",
    means: "The process has two copies of one library, each with a separate state. The second libfabric gets an empty list \
            of EFA interfaces, so NCCL uses TCP and reports no error. Two Neuron runtimes compete for the devices.",
    action: "Keep one copy: remove the copy that a Python wheel brought, or point LD_LIBRARY_PATH and LD_PRELOAD at the same \
             file.",
    source: "Mooncake pull request 2271.",
};
const REPLACED: FindingKind = FindingKind {
    id: "library-replaced",
    means: "An update replaced the file while the process used it. The process runs the old file, and gets the new file \
            beside it if it loads the library again.",
    action: "Restart the process.",
    source: "Linux, proc(5): (deleted) in maps.",
};

const NO_NCCL_PLUGIN: FindingKind = FindingKind {
    id: "nccl-plugin-missing",
    means: "NCCL reaches EFA only through its plugin aws-ofi-nccl (libnccl-net.so, libnccl-net-ofi.so). Without the plugin, NCCL \
            uses sockets and reports no error.",
    action: "Install aws-ofi-nccl (AWS's EFA installer puts it into /opt/amazon/ofi-nccl), in the container image if the program \
             runs in one, and add its folder to the loader's path. NCCL_NET=\"AWS Libfabric\" makes a missing plugin an error.",
    source: "aws-ofi-nccl, README; NCCL, NCCL_NET and NCCL_NET_PLUGIN.",
};

const SYMBOLS_MISSING: FindingKind = FindingKind {
    id: "library-symbols-missing",
    means: "The library was built against a newer rdma-core than the installed one: it needs symbol versions that the installed \
            library does not define. The loader refuses such a library. A program that is linked with it does not start, and a \
            program that opens it at run time, as NCCL opens its plugin, does without EFA.",
    action: "Install libfabric and rdma-core (libibverbs, libefa) of one release: AWS's EFA installer brings both. In a container, \
             install both in the image. ldd -v PATH shows which files the loader takes.",
    source: "The ELF files of this host; Linux, ld.so(8): \"version `EFA_1.3' not found\".",
};

pub(super) const INSTALLED: Check = Check {
    name: "installed libraries",
    kinds: || vec![NO_LIBFABRIC, SEVERAL_LIBFABRICS, NO_RUNTIME, NO_NCCOM],
    run: installed,
};
pub(super) const LOADER: Check = Check { name: "search paths", kinds: || vec![NOT_FOUND, NOT_ON_PATH], run: loader };
pub(super) const SYMBOLS: Check = Check { name: "symbol versions", kinds: || vec![SYMBOLS_MISSING], run: symbols };
pub(super) const MAPPED: Check =
    Check { name: "libraries of the process", kinds: || vec![TWICE, REPLACED], run: mapped };

pub(super) const NCCL: Check = Check { name: "NCCL plugin", kinds: || vec![NO_NCCL_PLUGIN], run: nccl };

/// The folders that the loader always searches.
const DEFAULT_FOLDERS: [&str; 6] =
    ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
/// The libraries that do harm if a process has two copies.
const ONCE: [Library; 4] = [Library::Libfabric, Library::Libnrt, Library::Libibverbs, Library::Libefa];

fn installed(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let host = input.machine()?;
    let (has_efa, has_neuron) = (!host.efa_interfaces().is_empty(), !host.neuron_devices().is_empty());
    if !has_efa && !has_neuron {
        return Err(Skip::NotApplicable("no device"));
    }
    let all = &input.system()?.libraries;
    let paths = |library| -> Vec<String> {
        all.iter().filter(|each| each.library == library).map(|each| each.path.clone()).collect()
    };
    let (fabrics, runtimes) = (paths(Library::Libfabric), paths(Library::Libnrt));
    let mut found = Vec::new();
    if has_efa {
        match &fabrics[..] {
            [] => found
                .push(NO_LIBFABRIC.note(Vec::new(), "no libfabric in /opt/amazon/efa or the folders of the system")),
            [_] => {}
            several => {
                let seen = format!("{} copies of libfabric are installed", several.len());
                found.push(SEVERAL_LIBFABRICS.note(fabrics.clone(), seen));
            }
        }
    }
    if has_neuron && runtimes.is_empty() {
        found.push(NO_RUNTIME.note(Vec::new(), "no libnrt in /opt/aws/neuron/lib or the folders of the system"));
    }
    if has_neuron && has_efa && !runtimes.is_empty() && paths(Library::Libnccom).is_empty() {
        found.push(NO_NCCOM.warning(runtimes, "no libnccom beside the runtime"));
    }
    Ok(found)
}

/// The libraries of rdma-core that define symbol versions.
const DEFINING: [Library; 2] = [Library::Libibverbs, Library::Libefa];

fn symbols(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    input.efa()?;
    let libraries = &input.system()?.libraries;
    if !libraries.iter().any(|each| DEFINING.contains(&each.library)) {
        return Err(Skip::NotApplicable("no library of rdma-core"));
    }
    let read: Vec<(&InstalledLibrary, &SymbolVersions)> =
        libraries.iter().filter_map(|each| Some((each, each.symbols.as_ref()?))).collect();
    if read.is_empty() {
        return Err(Skip::NotPossible("the symbol versions of the libraries are not known".to_owned()));
    }
    let of = |wanted: Library| read.iter().filter(move |(each, _)| each.library == wanted);
    let mut found = Vec::new();
    for (user, versions) in &read {
        for library in DEFINING {
            let needed = versions.needed.iter().filter(|need| need.library == library);
            let needed: Vec<&str> = needed.map(|need| need.version.as_str()).collect();
            let missing = |copy: &SymbolVersions| -> Vec<&str> {
                needed.iter().copied().filter(|version| !copy.defined.iter().any(|other| other == version)).collect()
            };
            let (sound, lacking): (Vec<_>, Vec<_>) = of(library)
                .map(|(copy, defined)| (copy, missing(defined)))
                .partition(|(_, missing)| missing.is_empty());
            if lacking.is_empty() {
                continue;
            }
            let lacks =
                lacking.iter().map(|(copy, missing)| format!("{} does not define {}", copy.path, missing.join(", ")));
            let mut seen =
                format!("{} needs a version that is missing: {}", user.path, lacks.collect::<Vec<_>>().join("; "));
            if let Some((copy, _)) = sound.first() {
                seen +=
                    &format!("; {} defines it, and the search path decides which of them the loader takes", copy.path);
            }
            // With a sound copy, the search path decides.
            let severity = if sound.is_empty() { Severity::Problem } else { Severity::Warning };
            found.push(SYMBOLS_MISSING.found(severity, vec![user.path.clone()], seen));
        }
    }
    Ok(found)
}

fn loader(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    input.neuron()?;
    let system = input.system()?;
    let searched = input.variable("LD_LIBRARY_PATH").unwrap_or_default();
    let finds = |library: &&InstalledLibrary| {
        let folder = library.folder();
        DEFAULT_FOLDERS.contains(&folder)
            || system.loader_folders.iter().any(|known| known == folder)
            || lists(searched, folder)
    };
    let runtimes: Vec<&InstalledLibrary> =
        system.libraries.iter().filter(|library| library.library == Library::Libnrt).collect();
    let mut found = Vec::new();
    if !runtimes.is_empty() && !runtimes.iter().any(finds) {
        let subjects = runtimes.iter().map(|library| library.path.clone()).collect();
        found.push(
            NOT_FOUND.warning(subjects, "the folder of libnrt is neither in /etc/ld.so.conf.d nor in LD_LIBRARY_PATH"),
        );
    }
    if let Some(path) = input.variable("PATH") {
        let hidden = |program: &&String| program.rsplit_once('/').is_some_and(|(folder, _)| !lists(path, folder));
        let subjects: Vec<String> = system.programs.iter().filter(hidden).cloned().collect();
        if !subjects.is_empty() {
            found.push(NOT_ON_PATH.note(subjects, "the folder of these programs is not in PATH"));
        }
    }
    Ok(found)
}

/// Whether a list of folders, separated by colons, has this folder.
fn lists(folders: &str, folder: &str) -> bool {
    folders.split(':').any(|listed| listed.trim_end_matches('/') == folder)
}

fn mapped(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let process = input.process()?;
    let libraries = mapped_libraries(process)?;
    let paths =
        |copies: Vec<&MappedLibrary>| copies.iter().map(|each| each.path.as_str()).collect::<Vec<_>>().join(", ");
    let mut found = Vec::new();
    for library in ONCE {
        let copies: Vec<&MappedLibrary> = libraries.iter().filter(|each| each.library == library).collect();
        if copies.len() > 1 {
            found.push(TWICE.problem(name_of(process), format!("{library} is mapped from {}", paths(copies))));
        }
    }
    let deleted: Vec<&MappedLibrary> = libraries.iter().filter(|each| each.deleted).collect();
    if !deleted.is_empty() {
        found.push(REPLACED.warning(name_of(process), format!("deleted: {}", paths(deleted))));
    }
    Ok(found)
}

fn mapped_libraries(process: &Process) -> Result<&[MappedLibrary], Skip> {
    if process.pid.is_none() {
        return Err(Skip::NotPossible("no process given: name one with --pid".to_owned()));
    }
    process.libraries.as_deref().ok_or_else(|| {
        Skip::NotPossible("only root and the user of the process may read which libraries it has mapped".to_owned())
    })
}

fn nccl(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    input.efa()?;
    let process = input.process()?;
    let libraries = mapped_libraries(process)?;
    let Some(nccl) = libraries.iter().find(|each| each.library == Library::Libnccl) else {
        return Err(Skip::NotApplicable("the process has not mapped NCCL"));
    };
    let is_mapped = libraries.iter().any(|each| each.library == Library::LibncclNet);
    let is_installed = input.system()?.libraries.iter().any(|each| each.library == Library::LibncclNet);
    // The user chose another network on purpose.
    let is_unused = input.variable("NCCL_NET").is_some_and(|net| !net.eq_ignore_ascii_case("AWS Libfabric"));
    if is_mapped || is_installed || is_unused {
        return Ok(Vec::new());
    }
    let seen =
        format!("{} is mapped, and its plugin for EFA is neither mapped nor in the folders of installers", nccl.path);
    Ok(vec![NO_NCCL_PLUGIN.warning(name_of(process), seen)])
}
