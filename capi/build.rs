//! Sets the linker options of `libnearfab.so`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The name by which programs that are linked with the library find it when they start.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libnearfab.so.0");
    // An undefined symbol fails this build instead of the start of a user's program.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,defs");
    // dlclose(3) leaves the library loaded. Otherwise a second dlopen(3) would start with an empty registry: open
    // devices would be opened a second time, and the handles that the program still has would be unknown.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
