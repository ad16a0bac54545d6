//! Does nothing, unless asked by feature `generate` to make the bindings anew from the installed headers.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "generate")]
    generate::verbs();
}

#[cfg(feature = "generate")]
mod generate {
    use std::env;
    use std::path::Path;

    use bindgen::{Builder, EnumVariation, Formatter};

    /// What nearfab calls, and nothing else: a narrow list is a short text to review when the headers change.
    const FUNCTIONS: &str = "ibv_(get_device_list|free_device_list|get_device_name|open_device|close_device\
        |query_device|query_port|query_gid)|efadv_query_device";

    /// The types in their signatures. `ibv_device` and `ibv_context` are left out on purpose and stay opaque: the library makes
    /// them and hands out pointers, and what is in them (a pthread mutex, for one) has another size on another architecture.
    const TYPES: &str = "ibv_device_attr|ibv_port_attr|_compat_ibv_port_attr|ibv_gid|ibv_gid__bindgen_ty_1|efadv_device_attr\
        |ibv_atomic_cap|ibv_port_state|ibv_mtu|__u64|__be64";

    /// Constants of unnamed enums.
    const CONSTANTS: &str = "EFADV_DEVICE_ATTR_CAPS_.*|IBV_LINK_LAYER_.*";

    pub(super) fn verbs() {
        let verbs = pkg_config::Config::new().cargo_metadata(false).probe("libibverbs");
        let verbs = verbs.unwrap_or_else(|e| panic!("the headers of libibverbs (Debian: libibverbs-dev): {e}"));
        let efa = pkg_config::Config::new().cargo_metadata(false).probe("libefa");
        let efa = efa.unwrap_or_else(|e| panic!("the headers of libefa (Debian: libibverbs-dev): {e}"));

        let bindings = Builder::default()
            .header("wrapper.h")
            .clang_args(verbs.include_paths.iter().map(|path| format!("-I{}", path.display())))
            .allowlist_function(FUNCTIONS)
            .allowlist_type(TYPES)
            .allowlist_var(CONSTANTS)
            .allowlist_recursively(false)
            .default_enum_style(EnumVariation::Consts)
            .prepend_enum_name(false)
            .derive_default(true)
            .use_core()
            .generate_comments(false)
            .disable_header_comment()
            .formatter(Formatter::Prettyplease)
            .raw_line(format!(
                "// Made by `cargo xtask generate` from libibverbs {} and libefa {}; the last number is rdma-core's. Do not edit.",
                verbs.version, efa.version
            ))
            .raw_line("use crate::opaque::{ibv_context, ibv_device};")
            .generate()
            .expect("the headers are C that libclang reads");

        let folder = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
        bindings.write_to_file(Path::new(&folder).join("verbs.rs")).expect("OUT_DIR can be written");
        println!("cargo::rerun-if-changed=wrapper.h");
    }
}
