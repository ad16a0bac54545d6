//! Gives the shared library its name in the loader's eyes, and makes an undefined symbol an error of this build instead
//! of the user's start.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libnearfab.so.0");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,defs");
}
