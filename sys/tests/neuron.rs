//! Compares the hand-written Neuron ioctls with C. This test declares the structures as the driver takes them. The
//! kernel's own macros compute the numbers.

#[expect(unused_macros, reason = "this test shares only the compilers with the other tests")]
mod c;

use std::mem::{align_of, offset_of, size_of};

use c::{Compiler, must, size_of_field};
use nearfab_sys::neuron::{
    self, AppInfo, AppsInfo, BasicInfo, BdfExt, DatastoreInfo, DriverInfo, NcMap, NcMapEntry, NcMapRequest, NcRange,
    VaPlacement,
};

const DECLARATIONS: &str = "
#include <stddef.h>
#include <stdint.h>
#include <linux/ioctl.h>
struct BasicInfo { uint32_t architecture, revision; };
struct DriverInfo { uint32_t architecture, revision, version, size; uint64_t feature_flags1; };
struct BdfExt { uint32_t nd_index, domain, bus; uint8_t slot, func; };
struct NcMapEntry { uint32_t device_id, nc; };
struct NcMap { uint32_t count; struct NcMapEntry entries[128]; };
struct NcMapRequest { struct NcMap *map; uint32_t max_entries, mapping_version; };
struct NcRange { uint32_t nc_count, start, end, max_nc_available; uint64_t bitmap[8]; };
struct AppInfo { int32_t pid; uint8_t nc_lock_map; char uuids[4][32]; size_t host_mem_size, device_mem_size; };
struct AppsInfo { uint16_t flags; uint32_t capacity, size; struct AppInfo apps[16]; };
struct DatastoreInfo { int32_t pid; uint64_t mmap_offset; uint32_t size; };
struct VaPlacement { uint64_t va; int32_t device_index, hbm_index; };
/* Sizes and offsets that the driver relies on: the ioctl numbers contain sizes, and the driver steps over entries. */
_Static_assert(sizeof(struct DriverInfo) == 24, \"DRIVER_INFO_GET\");
_Static_assert(sizeof(struct NcRange) == 80, \"NC_RANGE_MARK_EXT0\");
_Static_assert(sizeof(struct AppInfo) == 152, \"an application's entry\");
_Static_assert(offsetof(struct AppsInfo, apps) == 16, \"the first application's entry\");
_Static_assert(offsetof(struct DatastoreInfo, mmap_offset) == 8 && sizeof(struct DatastoreInfo) == 24, \"datastore\");
";

/// Appends a `_Static_assert` for each field's offset and size. A field that is missing here is a compile error.
macro_rules! structure {
    ($c:ident, $name:ident { $($field:ident),* $(,)? }) => {{
        #[expect(dead_code, reason = "the compiler only checks its pattern")]
        fn names_all_fields($name { $($field: _,)* }: $name) {}
        let name = stringify!($name);
        must(&mut $c, &format!("sizeof(struct {name}) == {}", size_of::<$name>()), &format!("size of {name}"));
        must(&mut $c, &format!("_Alignof(struct {name}) == {}", align_of::<$name>()), &format!("alignment of {name}"));
        $({
            let field = stringify!($field);
            let (offset, size) = (offset_of!($name, $field), size_of_field(|s: &$name| &raw const s.$field));
            must(&mut $c, &format!("offsetof(struct {name}, {field}) == {offset}"), &format!("offset of {name}.{field}"));
            must(&mut $c, &format!("sizeof(((struct {name} *)0)->{field}) == {size}"), &format!("size of {name}.{field}"));
        })*
    }};
}

fn assertions() -> String {
    let mut c = String::from(DECLARATIONS);
    structure!(c, BasicInfo { architecture, revision });
    structure!(c, DriverInfo { architecture, revision, version, size, feature_flags1 });
    structure!(c, BdfExt { nd_index, domain, bus, slot, func });
    structure!(c, NcMapEntry { device_id, nc });
    structure!(c, NcMap { count, entries });
    structure!(c, NcMapRequest { map, max_entries, mapping_version });
    structure!(c, NcRange { nc_count, start, end, max_nc_available, bitmap });
    structure!(c, AppInfo { pid, nc_lock_map, uuids, host_mem_size, device_mem_size });
    structure!(c, AppsInfo { flags, capacity, size, apps });
    structure!(c, DatastoreInfo { pid, mmap_offset, size });
    structure!(c, VaPlacement { va, device_index, hbm_index });
    for (expression, number) in [
        ("_IOW('N', 100, void *)", neuron::DEVICE_BASIC_INFO),
        ("_IOR('N', 110, struct DriverInfo)", neuron::DRIVER_INFO_GET),
        ("_IOR('N', 106, void *)", neuron::DEVICE_BDF_EXT),
        ("_IOR('N', 114, uint32_t)", neuron::HOST_DEVICE_ID),
        ("_IOWR('N', 120, struct NcMapRequest)", neuron::GET_LOGICAL_TO_PHYSICAL_NC_MAP),
        ("_IOWR('N', 85, struct NcRange)", neuron::NC_RANGE_MARK_EXT0),
        ("_IOW('N', 86, struct NcRange)", neuron::NC_RANGE_UNMARK_EXT0),
        ("_IOR('N', 7, void *)", neuron::DEVICE_GET_ALL_APPS_INFO),
        ("_IOR('N', 71, void *)", neuron::ACQUIRE_NEURON_DS),
        ("_IOR('N', 72, void *)", neuron::RELEASE_NEURON_DS),
        ("_IOW('N', 131, struct VaPlacement)", neuron::GET_VA_PLACEMENT),
    ] {
        must(&mut c, &format!("{expression} == {number:#x}"), expression.trim_end_matches(')'));
    }
    c
}

fn compilers(test: &str) -> Vec<Compiler> {
    c::compilers(test, "#include <linux/ioctl.h>\n", "linux-libc-dev")
}

#[test]
fn c_agrees_with_the_arguments_and_numbers() {
    for compiler in compilers("neuron ioctls") {
        compiler.accepts(&assertions());
    }
}

#[test]
fn a_wrong_number_or_offset_is_refused() {
    for compiler in compilers("wrong neuron ioctls") {
        let right = assertions();
        for (from, to, complaint) in [
            ("== 0xc0504e55", "== 0xc0504e56", "_IOWR('N', 85"),
            ("struct AppInfo, host_mem_size) == 136", "struct AppInfo, host_mem_size) == 144", "AppInfo.host_mem_size"),
        ] {
            let wrong = right.replace(from, to);
            assert_ne!(wrong, right);
            compiler.refuses(&wrong, complaint);
        }
    }
}
