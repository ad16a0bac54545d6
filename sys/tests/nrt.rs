//! Compares the hand-written functions and structures of libnrt with C. The declarations of this test are from AWS's
//! published reference. If NEURON_INCLUDE_DIR names the folder of AWS's headers, this test also compares with the
//! headers.

#[expect(unused_macros, reason = "this test shares only the compilers with the other tests")]
mod c;

use std::env;
use std::ffi::{c_char, c_int, c_void};
use std::io::{self, Write as _};
use std::mem::{align_of, offset_of, size_of};

use c::{Compiler, NEURON_INCLUDE};
use nearfab_sys::nrt::{self, MissingSymbol, NRT_STATUS, Nrt, nrt_instance_info_t, nrt_version_t};

/// The declarations and sizes as AWS's reference publishes them.
const DECLARED: &str = "
#include <stddef.h>
#include <stdint.h>
typedef enum { NRT_SUCCESS = 0, NRT_INVALID = 2, NRT_RESOURCE = 4 } NRT_STATUS;
typedef enum { NRT_FRAMEWORK_TYPE_INVALID = 0, NRT_FRAMEWORK_TYPE_NO_FW = 1 } nrt_framework_type_t;
typedef struct nrt_version {
    uint64_t rt_major, rt_minor, rt_patch, rt_maintenance; char rt_detail[128]; char git_hash[64];
} nrt_version_t;
typedef struct nrt_instance_info { uint32_t family, size; char arch_name[16]; char device_revision[8]; } nrt_instance_info_t;
_Static_assert(sizeof(nrt_version_t) == 224, \"the version's published size\");
_Static_assert(sizeof(nrt_instance_info_t) == 32, \"the instance information's published size\");
NRT_STATUS nrt_init(nrt_framework_type_t framework, const char *fw_version, const char *fal_version);
void nrt_close();
NRT_STATUS nrt_get_version(nrt_version_t *ver, size_t size);
const char *nrt_get_status_as_str(NRT_STATUS status);
NRT_STATUS nrt_get_instance_info(nrt_instance_info_t *info, size_t instance_info_len);
NRT_STATUS nrt_get_total_nc_count(uint32_t *nc_count);
NRT_STATUS nrt_get_total_vnc_count(uint32_t *vnc_count);
NRT_STATUS nrt_get_visible_nc_count(uint32_t *nc_count);
NRT_STATUS nrt_get_visible_vnc_count(uint32_t *vnc_count);
NRT_STATUS nrt_host_device_id_get(int neuron_dev, uint32_t *host_device_id);
NRT_STATUS nrt_get_attached_efa_bdf(const void *va, char *efa_bdf, size_t *len);
";

/// Declarations of the header `nrt/nec.h`. The header `nrt/nec.h` does not compile as published, so the test never
/// includes the header.
const COLLECTIVES: &str = "
int nec_get_device_pci_bdf(int neuron_dev, uint32_t *domain, uint32_t *bus_num, uint8_t *pci_slot, uint8_t *dev_func);
NRT_STATUS nec_get_virtual_core_size(uint32_t *virtual_core_size);
";

/// AWS's headers, with the headers that AWS's headers need and do not include.
const VENDORS: &str = "
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <nrt/nrt_status.h>
#include <nrt/nrt_version.h>
#include <nrt/nrt.h>
";

/// Returns the C name of a Rust type in the prototypes.
fn c_type(rust: &str) -> String {
    let rust = rust.trim();
    if let Some(target) = rust.strip_prefix("*const ") {
        return format!("const {} *", c_type(target));
    }
    if let Some(target) = rust.strip_prefix("*mut ") {
        return format!("{} *", c_type(target));
    }
    match rust {
        "c_char" => "char".into(),
        "c_int" => "int".into(),
        "c_void" | "()" => "void".into(),
        "u8" => "uint8_t".into(),
        "u32" => "uint32_t".into(),
        "usize" => "size_t".into(),
        same => same.into(),
    }
}

/// Makes the Rust compiler compare the types with the types of the table, and the C compiler compare the types with the
/// header. Fails if the list lacks a function of the table.
macro_rules! prototypes {
    ($c:ident; $($function:ident($($type:ty),*) -> $result:ty;)*) => {{
        $(
            let _: fn(&Nrt) -> Result<unsafe extern "C" fn($($type),*) -> $result, MissingSymbol> = Nrt::$function;
            let arguments: &[&str] = &[$(stringify!($type)),*];
            let arguments: Vec<String> = arguments.iter().copied().map(c_type).collect();
            let arguments = if arguments.is_empty() { "void".to_owned() } else { arguments.join(", ") };
            let (name, result) = (stringify!($function), c_type(stringify!($result)));
            c::must(&mut $c, &format!("_Generic(&{name}, {result} (*)({arguments}): 1, default: 0)"), &format!("prototype of {name}"));
        )*
        assert_eq!(Nrt::NAMES, [$(stringify!($function)),*]);
    }};
}

macro_rules! typedef {
    ($c:ident, $name:ident { $($field:ident),* }) => {{
        #[expect(dead_code, reason = "the compiler only checks its pattern")]
        fn names_all_fields($name { $($field: _,)* }: $name) {}
        let name = stringify!($name);
        c::must(&mut $c, &format!("sizeof({name}) >= {}", size_of::<$name>()), &format!("size of {name}"));
        c::must(&mut $c, &format!("_Alignof({name}) == {}", align_of::<$name>()), &format!("alignment of {name}"));
        $({
            let (offset, size) = (offset_of!($name, $field), c::size_of_field(|s: &$name| &raw const s.$field));
            let field = stringify!($field);
            c::must(&mut $c, &format!("offsetof({name}, {field}) == {offset}"), &format!("offset of {name}.{field}"));
            c::must(&mut $c, &format!("sizeof((({name} *)0)->{field}) == {size}"), &format!("size of {name}.{field}"));
        })*
    }};
}

fn assertions(header: &str) -> String {
    let mut c = format!("{header}{COLLECTIVES}");
    prototypes! { c;
        nrt_init(u32, *const c_char, *const c_char) -> NRT_STATUS;
        nrt_close() -> ();
        nrt_get_version(*mut nrt_version_t, usize) -> NRT_STATUS;
        nrt_get_status_as_str(NRT_STATUS) -> *const c_char;
        nrt_get_instance_info(*mut nrt_instance_info_t, usize) -> NRT_STATUS;
        nrt_get_total_vnc_count(*mut u32) -> NRT_STATUS;
        nrt_get_total_nc_count(*mut u32) -> NRT_STATUS;
        nrt_get_visible_vnc_count(*mut u32) -> NRT_STATUS;
        nrt_get_visible_nc_count(*mut u32) -> NRT_STATUS;
        nrt_host_device_id_get(c_int, *mut u32) -> NRT_STATUS;
        nrt_get_attached_efa_bdf(*const c_void, *mut c_char, *mut usize) -> NRT_STATUS;
        nec_get_device_pci_bdf(c_int, *mut u32, *mut u32, *mut u8, *mut u8) -> c_int;
        nec_get_virtual_core_size(*mut u32) -> NRT_STATUS;
    }
    typedef!(c, nrt_version_t { rt_major, rt_minor, rt_patch, rt_maintenance, rt_detail, git_hash });
    typedef!(c, nrt_instance_info_t { family, size, arch_name, device_revision });
    c::must(&mut c, &format!("sizeof(NRT_STATUS) == {}", size_of::<NRT_STATUS>()), "size of NRT_STATUS");
    let old = nrt::OLD_INSTANCE_INFO;
    c::must(&mut c, &format!("offsetof(nrt_instance_info_t, arch_name) == {old}"), "the older structure's size");
    for (name, number) in [
        ("NRT_SUCCESS", nrt::NRT_SUCCESS),
        ("NRT_INVALID", nrt::NRT_INVALID),
        ("NRT_RESOURCE", nrt::NRT_RESOURCE),
        ("NRT_FRAMEWORK_TYPE_NO_FW", nrt::NRT_FRAMEWORK_TYPE_NO_FW),
    ] {
        c::must(&mut c, &format!("{name} == {number}"), name);
    }
    c
}

fn compilers(test: &str) -> Vec<Compiler> {
    c::compilers(test, "#include <stdint.h>\n", "libc6-dev")
}

#[test]
fn c_agrees_with_the_published_declarations() {
    for compiler in compilers("libnrt") {
        compiler.accepts(&assertions(DECLARED));
    }
}

#[test]
fn c_agrees_with_the_vendors_headers() {
    if env::var_os(NEURON_INCLUDE).is_none() {
        // The line does not go through `eprintln!`, because cargo shows the output of `eprintln!` only if the test
        // fails.
        let _ = writeln!(io::stderr(), "SKIPPED libnrt's headers: {NEURON_INCLUDE} is not set to their folder");
        return;
    }
    for compiler in c::compilers("libnrt's headers", VENDORS, "none: aws-neuronx-runtime-lib has them") {
        compiler.accepts(&assertions(VENDORS));
    }
}

#[test]
fn a_wrong_prototype_or_layout_is_refused() {
    for compiler in compilers("wrong libnrt") {
        for (from, to, complaint) in [
            ("size_t *len)", "uint32_t *len)", "prototype of nrt_get_attached_efa_bdf"),
            ("nrt_host_device_id_get(int", "nrt_host_device_id_get(long", "prototype of nrt_host_device_id_get"),
            ("char rt_detail[128]", "char rt_detail[64]", "offset of nrt_version_t.git_hash"),
            ("NRT_RESOURCE = 4", "NRT_RESOURCE = 5", "NRT_RESOURCE"),
        ] {
            let wrong = assertions(&DECLARED.replace(from, to));
            assert!(!wrong.contains(from), "{from}");
            compiler.refuses(&wrong, complaint);
        }
    }
}

/// Resolves a table from a library with only one function: older libraries lack some functions.
#[test]
fn a_library_may_lack_any_of_the_functions() {
    extern "C" fn close() {}
    let found = |name: &std::ffi::CStr| (name == c"nrt_close").then(|| std::ptr::NonNull::new(close as *mut c_void))?;
    // SAFETY: `found` returns only the address of `close`, which has the type of nrt_close and is never unmapped.
    let nrt = unsafe { Nrt::resolve(found) };
    nrt.nrt_close().unwrap();
    let missing = nrt.nrt_get_attached_efa_bdf().unwrap_err();
    assert_eq!(missing, MissingSymbol { library: "libnrt.so.1", name: "nrt_get_attached_efa_bdf" });
    assert_eq!(missing.to_string(), "libnrt.so.1 has no nrt_get_attached_efa_bdf");
}
