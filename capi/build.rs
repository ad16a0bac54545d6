//! Sets the linker options of `libnearfab.so`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The loader finds the library by this name when a program that is linked with the library starts.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libnearfab.so.0");
    // An undefined symbol fails this build instead of the start of a user's program.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,defs");
    // dlclose(3) leaves the library loaded. If dlclose(3) unloaded the library, a second dlopen(3) would start with an
    // empty registry. Open devices would be opened a second time, and the program's handles would be unknown.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
