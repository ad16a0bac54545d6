//! Generates the bindings from the installed headers if the feature `generate` is on. Does nothing otherwise.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "generate")]
    {
        generate::verbs();
        generate::fabric();
    }
}

#[cfg(feature = "generate")]
mod generate {
    use std::env;
    use std::path::Path;

    use bindgen::callbacks::{IntKind, ParseCallbacks};
    use bindgen::{Builder, EnumVariation, Formatter};

    /// The functions that nearfab calls. A short list keeps the difference short when the headers change.
    const FUNCTIONS: &str = "ibv_(get_device_list|free_device_list|get_device_name|open_device|close_device\
        |query_device|query_port|query_gid|alloc_pd|dealloc_pd|reg_mr|reg_dmabuf_mr|dereg_mr|create_cq|destroy_cq\
        |create_qp|destroy_qp|get_async_event|ack_async_event)|efadv_(query_device|create_driver_qp)";

    /// The types in the signatures of these functions, without the types of src/objects.rs. The library creates objects
    /// of the types of src/objects.rs and returns pointers to them. These objects contain types that have another size
    /// on another architecture, such as a pthread mutex.
    const TYPES: &str = "ibv_device_attr|ibv_port_attr|_compat_ibv_port_attr|ibv_gid|ibv_gid__bindgen_ty_1|efadv_device_attr\
        |ibv_atomic_cap|ibv_port_state|ibv_mtu|__u64|__be64|ibv_mr|ibv_qp_init_attr|ibv_qp_cap|ibv_qp_type\
        |ibv_access_flags|ibv_async_event|ibv_async_event__bindgen_ty_1|ibv_event_type";

    /// Constants of unnamed enums.
    const CONSTANTS: &str = "EFADV_DEVICE_ATTR_CAPS_.*|EFADV_QP_DRIVER_TYPE_SRD|IBV_LINK_LAYER_.*";

    pub(super) fn verbs() {
        let verbs = pkg_config::Config::new().cargo_metadata(false).probe("libibverbs");
        let verbs = verbs.unwrap_or_else(|e| {
            panic!("cannot find the headers of libibverbs: {e}; install them (Debian: libibverbs-dev)")
        });
        let efa = pkg_config::Config::new().cargo_metadata(false).probe("libefa");
        let efa = efa.unwrap_or_else(|e| {
            panic!("cannot find the headers of libefa: {e}; install them (Debian: libibverbs-dev)")
        });

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
            .raw_line("use crate::objects::{ibv_comp_channel, ibv_context, ibv_cq, ibv_device, ibv_pd, ibv_qp, ibv_srq, ibv_wq};")
            .generate()
            .expect("libclang parses the headers");

        let folder = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
        bindings.write_to_file(Path::new(&folder).join("verbs.rs")).expect("OUT_DIR is writable");
        println!("cargo::rerun-if-changed=wrapper.h");
    }

    /// The exported functions of libfabric that nearfab calls. The other functions of libfabric are in the tables of
    /// libfabric's objects.
    const FABRIC_FUNCTIONS: &str = "fi_(getinfo|freeinfo|dupinfo|fabric|version|strerror)";

    /// The objects of libfabric, their tables, and the attributes that create them.
    const FABRIC_TYPES: &str = "fi_info|fid_(fabric|domain|ep|av|cq|mr|nic)|fi_ops_(fabric|domain|mr|av|cq|msg|cm)\
        |fi_(av|cq)_attr|fi_cq_(msg|err)_entry|fi_context2";

    /// Objects and tables whose fields nearfab does not use.
    const FABRIC_OPAQUE: &str = "fi_ops_(ep|rma|tagged|atomic|collective)|fi_(atomic|collective|wait|poll|eq|cntr|av_set)_attr|fi_msg\
        |fid_(stx|pep|eq|cntr|poll|wait|av_set|mc)|iovec|fi_mr_attr";

    /// The constants of libfabric that nearfab uses.
    const FABRIC_CONSTANTS: &str = "FI_(MSG|RMA|TAGGED|READ|WRITE|RECV|SEND|TRANSMIT|REMOTE_READ|REMOTE_WRITE|HMEM|CONTEXT|CONTEXT2\
        |MR_(LOCAL|VIRT_ADDR|ALLOCATED|PROV_KEY|ENDPOINT|HMEM)|EAGAIN|EAVAIL|ENODATA|ENOSYS|ENABLE)";

    pub(super) fn fabric() {
        let fabric = pkg_config::Config::new().cargo_metadata(false).probe("libfabric");
        let fabric = fabric.unwrap_or_else(|e| {
            panic!("cannot find the headers of libfabric: {e}; install them (Debian: libfabric-dev)")
        });
        let bindings = Builder::default()
            .header("wrapper-fabric.h")
            .clang_args(fabric.include_paths.iter().map(|path| format!("-I{}", path.display())))
            .allowlist_function(FABRIC_FUNCTIONS)
            .allowlist_type(FABRIC_TYPES)
            .allowlist_var(FABRIC_CONSTANTS)
            .opaque_type(FABRIC_OPAQUE)
            .parse_callbacks(Box::new(Macros))
            .default_enum_style(EnumVariation::Consts)
            .prepend_enum_name(false)
            .derive_default(true)
            .use_core()
            .generate_comments(false)
            .disable_header_comment()
            .formatter(Formatter::Prettyplease)
            .raw_line(format!("// Made by `cargo xtask generate` from libfabric {}. Do not edit.", fabric.version))
            .generate()
            .expect("libclang parses the headers");
        let folder = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
        bindings.write_to_file(Path::new(&folder).join("fabric.rs")).expect("OUT_DIR is writable");
        println!("cargo::rerun-if-changed=wrapper-fabric.h");
    }

    /// Sets the types of macros. bindgen derives a type from the value, and would give small flags and large flags
    /// different types.
    #[derive(Debug)]
    struct Macros;

    impl ParseCallbacks for Macros {
        fn int_macro(&self, name: &str, _: i64) -> Option<IntKind> {
            let int =
                name.starts_with("FI_MR_") || ["FI_EAGAIN", "FI_EAVAIL", "FI_ENODATA", "FI_ENOSYS"].contains(&name);
            name.starts_with("FI_").then_some(if int { IntKind::Int } else { IntKind::U64 })
        }
    }
}
