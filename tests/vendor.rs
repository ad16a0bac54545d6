//! Tests of the vendor libraries of a process: a mapped library is used, and two mapped copies are refused with their
//! names.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

#[expect(dead_code, reason = "no test here opens a device")]
mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libloading::os::unix::{self, RTLD_LOCAL, RTLD_NOW};
use nearfab::context::Efa;
use nearfab::system::Library;
use nearfab::vendor::{self, Runtime, prefer};
use nearfab::{Error, Host, Result};
use support::{Machine, Skip, calls, on_machine};

const HASHED: &str = "libfabric-1a2b3c4d.so.1.20.0";
const HASHED_VERBS: &str = "libibverbs-1a2b3c4d.so.1.14.57.0";
const FABRIC: &str = "typedef unsigned version;\nversion fi_version(void) { return NUMBER; }\nvoid fi_getinfo(void) {}\n\
                      void fi_fabric(void) {}\nvoid fi_dupinfo(void) {}\n";

fn runtime(soname: &str) -> Result<Runtime> {
    vendor::all().into_iter().find(|(name, _)| *name == soname).unwrap().1
}

/// Maps a library, as another part of the process would map it.
fn map(path: &Path) {
    // SAFETY: the stand-ins have no initializers, and the initializers of the real library are sound in any process.
    let library = unsafe { unix::Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.unwrap();
    std::mem::forget(library);
}

/// Chooses the file to use for a library.
fn choose(library: Library, path: &str) {
    // SAFETY: each file here is a stand-in with the functions that the test calls, or a copy of a real library.
    unsafe { prefer(library, path) };
}

/// Compiles a stand-in for libfabric with a version.
fn fabric(machine: &Machine, name: &str, version: &str) -> std::result::Result<(), Skip> {
    let text = format!("#define NUMBER ({version})\n{FABRIC}");
    machine.compile(name, &text).map_err(|_| Skip("no C compiler".to_owned()))
}

/// Returns the machine's folder of libraries. In the search path, valgrind's folder is before this folder.
fn libraries() -> PathBuf {
    let searched = std::env::var_os("LD_LIBRARY_PATH").unwrap();
    std::env::split_paths(&searched).find(|folder| folder.ends_with("lib")).unwrap()
}

#[test]
fn a_copy_that_is_mapped_under_a_wheels_name_is_used() {
    let name = "a_copy_that_is_mapped_under_a_wheels_name_is_used";
    let prepare = |machine: &mut Machine| {
        fabric(machine, "libfabric.so.1", "1 << 16 | 17")?;
        fabric(machine, HASHED, "2 << 16 | 3")
    };
    on_machine(name, prepare, || {
        map(&libraries().join(HASHED));
        let found = runtime("libfabric.so.1").unwrap();
        assert_eq!(found.version.as_deref(), Some("2.3"));
        assert!(found.path.unwrap().ends_with(HASHED));
        assert_eq!(found.missing, []);
    });
}

#[test]
fn two_copies_are_refused_by_name_unless_one_is_preferred() {
    let name = "two_copies_are_refused_by_name_unless_one_is_preferred";
    let prepare = |machine: &mut Machine| {
        fabric(machine, "libfabric.so.1", "1 << 16 | 17")?;
        fabric(machine, HASHED, "2 << 16 | 3")
    };
    on_machine(name, prepare, || {
        let [one, other] = ["libfabric.so.1", HASHED].map(|file| libraries().join(file));
        map(&one);
        map(&other);
        let error = runtime("libfabric.so.1").unwrap_err();
        let text = error.to_string();
        assert!([&one, &other].iter().all(|path| text.contains(path.to_str().unwrap())), "{text}");
        let Error::SeveralLibraries { library, paths, .. } = error else { panic!("{text}") };
        assert_eq!((library, paths.len()), ("libfabric.so.1", 2));
        choose(Library::Libfabric, other.to_str().unwrap());
        assert_eq!(runtime("libfabric.so.1").unwrap().version.as_deref(), Some("2.3"));
    });
}

/// A preference chooses among copies. If another copy is mapped already, loading the preferred copy would map a second
/// copy.
#[test]
fn a_preferred_copy_is_refused_beside_a_mapped_one() {
    let name = "a_preferred_copy_is_refused_beside_a_mapped_one";
    let prepare = |machine: &mut Machine| {
        fabric(machine, "odd.so", "0")?;
        fabric(machine, "libfabric.so.1", "1 << 16 | 17")?;
        fabric(machine, HASHED, "2 << 16 | 3")
    };
    on_machine(name, prepare, || {
        let [one, other] = ["libfabric.so.1", HASHED].map(|file| libraries().join(file));
        // A mapped file with a name that is not UTF-8 does not matter.
        let odd = std::env::temp_dir().join(OsStr::from_bytes(b"nearfab-\xff"));
        std::fs::copy(libraries().join("odd.so"), &odd).unwrap();
        map(&odd);
        std::fs::remove_file(&odd).unwrap();
        map(&one);
        choose(Library::Libfabric, other.to_str().unwrap());
        let Error::SeveralLibraries { paths, .. } = runtime("libfabric.so.1").unwrap_err() else { panic!("loaded") };
        assert_eq!(paths, [one.display().to_string(), other.display().to_string()]);
        choose(Library::Libfabric, one.to_str().unwrap());
        assert_eq!(runtime("libfabric.so.1").unwrap().version.as_deref(), Some("1.17"));
    });
}

#[test]
fn no_interface_is_opened_while_two_copies_are_mapped() {
    let prepare = |machine: &mut Machine| {
        machine.add_stub()?;
        std::fs::copy(machine.library("libibverbs.so.1"), machine.library(HASHED_VERBS)).unwrap();
        Ok(())
    };
    on_machine("no_interface_is_opened_while_two_copies_are_mapped", prepare, || {
        let [one, other] = ["libibverbs.so.1", HASHED_VERBS].map(|file| libraries().join(file));
        map(&one);
        map(&other);
        let host = Host::discover().unwrap();
        let efa = host.efa_interfaces()[0].address();
        let Error::SeveralLibraries { library, paths, .. } = Efa::open(&host, efa).unwrap_err() else {
            panic!("opened")
        };
        assert_eq!((library, paths.len()), ("libibverbs.so.1", 2));
        assert!([&one, &other].iter().all(|path| paths.contains(&path.display().to_string())), "{paths:?}");
        assert_eq!(calls("ibv_get_device_list"), 0);
        choose(Library::Libibverbs, other.to_str().unwrap());
        assert_eq!(Efa::open(&host, efa).unwrap().device_attributes().unwrap().ports, 1);
    });
}

#[test]
fn a_file_that_is_mapped_for_reading_is_no_copy() {
    let name = "a_file_that_is_mapped_for_reading_is_no_copy";
    let prepare = |machine: &mut Machine| {
        fabric(machine, "libfabric.so.1", "1 << 16 | 17")?;
        fabric(machine, HASHED, "2 << 16 | 3")
    };
    on_machine(name, prepare, || {
        let file = std::fs::File::open(libraries().join(HASHED)).unwrap();
        // SAFETY: no process changes the file.
        let _read = unsafe { memmap2::Mmap::map(&file) }.unwrap();
        assert_eq!(runtime("libfabric.so.1").unwrap().version.as_deref(), Some("1.17"));
    });
}

#[test]
fn a_missing_function_is_listed_with_its_consequence() {
    let name = "a_missing_function_is_listed_with_its_consequence";
    let prepare = |machine: &mut Machine| {
        let old = "void nrt_init(void) {}\nvoid nrt_get_version(void) {}\n";
        machine.compile("libnrt.so.1", old).map_err(|_| Skip("no C compiler".to_owned()))
    };
    on_machine(name, prepare, || {
        let found = runtime("libnrt.so.1").unwrap();
        assert_eq!(found.missing.len(), 1);
        assert_eq!(found.missing[0].symbol, "nrt_get_attached_efa_bdf");
        assert!(found.missing[0].means.contains("instance's table"), "{:?}", found.missing);
    });
}

/// The first libfabric is the distribution's library. The second libfabric is a copy of the first under a wheel's name.
#[test]
fn two_real_libfabrics_are_refused_by_name() {
    let Ok(found) = runtime("libfabric.so.1") else {
        return nearfab_emu::skipped("two_real_libfabrics_are_refused_by_name", "libfabric is not installed");
    };
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join(HASHED);
    std::fs::copy(found.path.as_ref().unwrap(), &copy).unwrap();
    map(&copy);
    let Error::SeveralLibraries { paths, .. } = runtime("libfabric.so.1").unwrap_err() else { panic!("not two") };
    assert_eq!(paths.len(), 2);
    assert!(paths.contains(&copy.display().to_string()), "{paths:?}");
}

const NAMED: &str = "NEARFAB_LIBNRT";
const ELSEWHERE: &str = "libnrt.so.2.34.10.0";

/// Adds a libnrt to the machine, and a second libnrt that only an environment variable names.
fn two_runtimes(machine: &mut Machine) -> std::result::Result<(), Skip> {
    for name in ["libnrt.so.1", ELSEWHERE] {
        let text = "void nrt_init(void) {}\nvoid nrt_get_version(void) {}\nvoid nrt_get_attached_efa_bdf(void) {}\n";
        machine.compile(name, text).map_err(|_| Skip("no C compiler".to_owned()))?;
    }
    let elsewhere = machine.library("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::rename(machine.library(ELSEWHERE), elsewhere.join(ELSEWHERE)).unwrap();
    machine.set(NAMED, elsewhere.join(ELSEWHERE).to_str().unwrap());
    Ok(())
}

fn named() -> String {
    std::env::var(NAMED).unwrap()
}

#[test]
fn a_libnrt_that_the_environment_names_is_used() {
    on_machine("a_libnrt_that_the_environment_names_is_used", two_runtimes, || {
        let found = runtime("libnrt.so.1").unwrap();
        assert_eq!(found.path, Some(named()));
        assert_eq!(found.version.as_deref(), Some("2.34.10.0"));
        // The mapped library is found again under its other name.
        assert_eq!(runtime("libnrt.so.1").unwrap().path, Some(named()));
    });
}

#[test]
fn a_libnrt_that_the_environment_names_is_refused_beside_a_mapped_one() {
    on_machine("a_libnrt_that_the_environment_names_is_refused_beside_a_mapped_one", two_runtimes, || {
        let searched = std::env::var_os("LD_LIBRARY_PATH").unwrap();
        let mapped =
            std::env::split_paths(&searched).map(|folder| folder.join("libnrt.so.1")).find(|file| file.exists());
        let mapped = mapped.unwrap();
        map(&mapped);
        let Error::SeveralLibraries { library, paths, .. } = runtime("libnrt.so.1").unwrap_err() else {
            panic!("mapped")
        };
        assert_eq!(library, "libnrt.so.1");
        assert_eq!(paths, [mapped.display().to_string(), named()]);

        // The variable may choose among mapped libraries.
        map(Path::new(&named()));
        assert_eq!(runtime("libnrt.so.1").unwrap().path, Some(named()));
    });
}

#[test]
fn a_missing_libnrt_that_the_environment_names_is_explained() {
    let prepare = |machine: &mut Machine| {
        machine.set(NAMED, "/nowhere/libnrt.so.1");
        Ok(())
    };
    on_machine("a_missing_libnrt_that_the_environment_names_is_explained", prepare, || {
        let error = runtime("libnrt.so.1").unwrap_err();
        assert!(matches!(error, Error::Library { library: "libnrt.so.1", .. }), "{error}");
        assert!(error.to_string().contains("/nowhere/libnrt.so.1"), "{error}");
    });
}
