//! Reads the symbol versions of EFA's libraries from their ELF files.
//!
//! libfabric needs versions of libefa and libibverbs such as `EFA_1.3`. The dynamic loader refuses libfabric if the
//! installed library does not define a version that libfabric needs.

use object::LittleEndian;
use object::elf::{
    ELFCLASS64, ELFDATA2LSB, ELFMAG, FileHeader64, SHT_GNU_VERDEF, SHT_GNU_VERNEED, VER_FLG_BASE, VER_FLG_WEAK,
};
use object::read::elf::{FileHeader, SectionHeader};
use object::read::{ReadCache, ReadRef};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::scan::root::HostRoot;
use crate::types::Library;

/// The libraries whose versions can be missing. All of them belong to rdma-core.
const DEFINING: [Library; 2] = [Library::Libibverbs, Library::Libefa];
const LIBRARIES: [Library; 3] = [Library::Libibverbs, Library::Libefa, Library::Libfabric];
/// The limits of a file. A library has about 30 sections, and rdma-core's libraries have about 15 versions.
const MOST_SECTIONS: usize = 4096;
const MOST_VERSIONS: usize = 4096;
const LONGEST_SECTION: u64 = 1024 * 1024;

/// The symbol versions in the ELF file of a library. Only versions of libibverbs and libefa are listed, such as
/// `IBVERBS_1.14` and `EFA_1.3`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SymbolVersions {
    /// The versions that the file defines.
    pub defined: Vec<String>,
    /// The versions that the file needs. Without one of them, the dynamic loader refuses the file.
    pub needed: Vec<NeededVersion>,
}

/// A symbol version that a file needs of another library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NeededVersion {
    /// The library that should define the version.
    pub library: Library,
    /// The version, such as `EFA_1.3`.
    pub version: String,
}

/// Returns the symbol versions of a library. Returns `None` for other libraries, and for files that are not 64-bit ELF
/// files in little endian.
pub(super) fn read(root: &HostRoot, library: Library, path: &str) -> Result<Option<SymbolVersions>> {
    if !LIBRARIES.contains(&library) {
        return Ok(None);
    }
    let Some(file) = root.open_large(path)? else { return Ok(None) };
    versions(&ReadCache::new(file)).map_err(|reason| root.malformed(path, "an ELF file with symbol versions", &reason))
}

/// Returns true for the name of a version of libibverbs or libefa: `IBVERBS_1.14`, `IBVERBS_PRIVATE_34`, `EFA_1.3`.
pub(super) fn is_known(version: &str) -> bool {
    let number = ["IBVERBS_PRIVATE_", "IBVERBS_", "EFA_"].iter().find_map(|prefix| version.strip_prefix(prefix));
    number.is_some_and(|number| {
        (1..=16).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

fn versions<'data, R: ReadRef<'data>>(data: R) -> std::result::Result<Option<SymbolVersions>, String> {
    let is_known_form = |start: &[u8]| start.starts_with(&ELFMAG) && start[4..6] == [ELFCLASS64, ELFDATA2LSB];
    if !data.read_bytes_at(0, 6).is_ok_and(is_known_form) {
        return Ok(None);
    }
    of_elf(data).map(Some)
}

fn of_elf<'data, R: ReadRef<'data>>(data: R) -> std::result::Result<SymbolVersions, String> {
    let text = |error: object::Error| error.to_string();
    let header = FileHeader64::<LittleEndian>::parse(data).map_err(text)?;
    let endian = LittleEndian;
    if header.shnum(endian, data).map_err(text)? > MOST_SECTIONS {
        return Err("too many sections".to_owned());
    }
    let sections = header.sections(endian, data).map_err(text)?;
    let mut all = SymbolVersions::default();
    let mut entries = 0;
    let mut count = || {
        entries += 1;
        if entries > MOST_VERSIONS { Err("too many symbol versions".to_owned()) } else { Ok(()) }
    };
    // A file has one section of each kind.
    let first = |kind| sections.iter().find(|section| section.sh_type(endian) == kind);
    let sections_of_versions = [first(SHT_GNU_VERDEF), first(SHT_GNU_VERNEED)];
    for section in sections_of_versions.into_iter().flatten() {
        if section.sh_size(endian) > LONGEST_SECTION {
            return Err("the section of symbol versions is too long".to_owned());
        }
        if let Some((mut definitions, link)) = section.gnu_verdef(endian, data).map_err(text)? {
            let strings = sections.strings(endian, data, link).map_err(text)?;
            while let Some((definition, mut names)) = definitions.next().map_err(text)? {
                count()?;
                // The name of the base is the name of the file.
                let is_base = definition.vd_flags.get(endian) & VER_FLG_BASE != 0;
                let Some(name) = names.next().map_err(text)?.filter(|_| !is_base) else { continue };
                all.defined.extend(known(name.name(endian, strings).map_err(text)?));
            }
        }
        if let Some((mut files, link)) = section.gnu_verneed(endian, data).map_err(text)? {
            let strings = sections.strings(endian, data, link).map_err(text)?;
            while let Some((file, mut needs)) = files.next().map_err(text)? {
                count()?;
                let library = std::str::from_utf8(file.file(endian, strings).map_err(text)?).ok();
                let library = library.and_then(Library::of_file).filter(|library| DEFINING.contains(library));
                while let Some(need) = needs.next().map_err(text)? {
                    count()?;
                    // The loader warns about a missing weak version, and loads the file.
                    let is_weak = need.vna_flags.get(endian) & VER_FLG_WEAK != 0;
                    let Some(library) = library.filter(|_| !is_weak) else { continue };
                    let version = known(need.name(endian, strings).map_err(text)?);
                    all.needed.extend(version.map(|version| NeededVersion { library, version }));
                }
            }
        }
    }
    Ok(all)
}

fn known(name: &[u8]) -> Option<String> {
    std::str::from_utf8(name).ok().filter(|name| is_known(name)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::io::Cursor;
    use std::path::Path;
    use std::process::Command;

    use nearfab_emu::library_file;
    use proptest::prelude::*;

    fn read(file: &[u8]) -> std::result::Result<Option<SymbolVersions>, String> {
        let cached = versions(&ReadCache::new(Cursor::new(file)));
        assert_eq!(versions(file), cached);
        cached
    }

    fn shown(versions: &SymbolVersions) -> (Vec<&str>, Vec<(&str, &str)>) {
        let needed = versions.needed.iter().map(|need| (need.library.name(), need.version.as_str()));
        (versions.defined.iter().map(String::as_str).collect(), needed.collect())
    }

    #[test]
    fn versions_of_rdma_core_are_read_and_others_are_left_out() {
        let file = library_file(
            &["EFA_1.0", "FABRIC_1.7", "EFA_1.1"],
            &[("libc.so.6", &["GLIBC_2.34"]), ("libibverbs.so.1", &["IBVERBS_1.14", "IBVERBS_PRIVATE_34", "SECRET_1"])],
        );
        let versions = read(&file).unwrap().unwrap();
        let needed = vec![("libibverbs", "IBVERBS_1.14"), ("libibverbs", "IBVERBS_PRIVATE_34")];
        assert_eq!(shown(&versions), (vec!["EFA_1.0", "EFA_1.1"], needed));
        assert_eq!(read(&library_file(&[], &[])).unwrap(), Some(SymbolVersions::default()));
    }

    #[test]
    fn other_files_have_no_versions() {
        let mut other_class = library_file(&["EFA_1.0"], &[]);
        other_class[4] = 1;
        for file in [&b""[..], b"/* GNU ld script */", b"\x7fELF", &other_class] {
            assert_eq!(read(file), Ok(None));
        }
    }

    #[test]
    fn names_that_are_no_versions_of_rdma_core_are_unknown() {
        for name in ["EFA_", "EFA_1.x", "EFA_12345678901234567", "IBVERBS_PRIVATE_a", "GLIBC_2.34", "", "efa_1.0"] {
            assert!(!is_known(name), "{name}");
        }
    }

    /// readelf and nearfab read the same versions in the libraries of this machine.
    #[test]
    fn readelf_shows_the_same_versions() {
        let mut compared = 0;
        for folder in ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"] {
            for name in ["libibverbs.so.1", "libefa.so.1", "libfabric.so.1"] {
                let path = Path::new(folder).join(name);
                let Ok(file) = std::fs::read(&path) else { continue };
                let Ok(output) = Command::new("readelf").args(["-VW"]).arg(&path).output() else { continue };
                let text = String::from_utf8(output.stdout).unwrap();
                let versions = read(&file).unwrap().unwrap();
                let (defined, needed) = shown(&versions);
                let set = |all: Vec<String>| all.into_iter().collect::<BTreeSet<_>>();
                let read = set(needed.iter().map(|(library, version)| format!("{library} {version}")).collect());
                let read: BTreeSet<String> =
                    read.union(&set(defined.iter().map(|v| (*v).into()).collect())).cloned().collect();
                assert_eq!(read, by_readelf(&text), "{}", path.display());
                compared += 1;
            }
        }
        if compared == 0 {
            nearfab_emu::skipped(
                "symbol versions by readelf",
                "readelf or the libraries of rdma-core are not installed",
            );
        }
    }

    /// Returns the versions that readelf shows: defined ones by name, needed ones with the name of the library.
    fn by_readelf(text: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let (mut in_needs, mut library) = (false, None);
        for line in text.lines() {
            let after = |word: &str| line.split(word).nth(1).map(|rest| rest.split(' ').next().unwrap().to_owned());
            if line.starts_with("Version ") {
                in_needs = line.starts_with("Version needs");
            } else if let Some(file) = after("File: ") {
                library = Library::of_file(&file).filter(|library| DEFINING.contains(library));
            } else if let Some(name) = after("Name: ").filter(|name| is_known(name)) {
                match (in_needs, library) {
                    (false, _) => drop(all.insert(name)),
                    (true, Some(library)) => drop(all.insert(format!("{library} {name}"))),
                    (true, None) => {}
                }
            }
        }
        all
    }

    proptest! {
        /// A damaged file is refused or read, and neither panics nor takes long.
        #[test]
        fn damaged_files_are_refused_or_read(
            changes in proptest::collection::vec((0..1000_usize, any::<u8>()), 0..8),
            length in 0..1000_usize,
            is_cut in any::<bool>(),
        ) {
            let mut file = library_file(&["EFA_1.0", "EFA_1.1"], &[("libibverbs.so.1", &["IBVERBS_1.1", "IBVERBS_1.14"])]);
            for (place, byte) in changes {
                let place = place % file.len();
                file[place] = byte;
            }
            if is_cut {
                file.truncate(length);
            }
            let _ = read(&file);
        }

        #[test]
        fn random_bytes_are_refused_or_read(mut file in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&file);
            file.splice(0..0, *b"\x7fELF\x02\x01\x01");
            let _ = read(&file);
        }

        #[test]
        fn versions_are_read_back(
            defined in proptest::collection::vec("(EFA|IBVERBS)_[0-9.]{1,8}", 0..6),
            needed in proptest::collection::vec("(IBVERBS_PRIVATE|EFA)_[0-9.]{1,8}", 0..6),
        ) {
            let (given, versions): (Vec<&str>, Vec<&str>) =
                (defined.iter().map(String::as_str).collect(), needed.iter().map(String::as_str).collect());
            let file = library_file(&given, &[("libefa.so.1", &versions)]);
            let read = read(&file).unwrap().unwrap();
            prop_assert_eq!(shown(&read), (given, versions.into_iter().map(|version| ("libefa", version)).collect()));
        }
    }
}
