//! Compares the bindings with C by C compilers: the machine's own compiler, and Debian's compiler for aarch64, which
//! has another ABI.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::process::{Command, Output};

/// The environment variable with the folder of libnrt's headers. AWS does not let others redistribute these headers.
pub(crate) const NEURON_INCLUDE: &str = "NEURON_INCLUDE_DIR";

/// Appends a `_Static_assert` for the structure's alignment and for each field's offset and size. The pattern has no
/// `..`, so a field that is missing here is a compile error.
macro_rules! structure {
    ($c:ident, $name:ident { $($field:ident),* $(,)? } $(except $unchecked:ident)?) => {{
        #[expect(dead_code, reason = "the compiler only checks its pattern")]
        fn names_all_fields($name { $($field: _,)* $($unchecked: _)? }: $name) {}
        let c = &mut $c;
        let name = stringify!($name);
        $crate::c::must(c, &format!("sizeof(struct {name}) >= {}", size_of::<$name>()), concat!("size of ", stringify!($name)));
        $crate::c::must(c, &format!("_Alignof(struct {name}) == {}", align_of::<$name>()), concat!("alignment of ", stringify!($name)));
        $({
            let field = stringify!($field).trim_end_matches('_'); // `type_` is `type` in C.
            let offset = offset_of!($name, $field);
            let size = $crate::c::size_of_field(|s: &$name| &raw const s.$field);
            $crate::c::must(c, &format!("offsetof(struct {name}, {field}) == {offset}"), &format!("offset of {name}.{field}"));
            $crate::c::must(c, &format!("sizeof(((struct {name} *)0)->{field}) == {size}"), &format!("size of {name}.{field}"));
        })*
    }};
}

/// Appends a `_Static_assert` for the offset and size of each public first field of a structure with private other
/// fields.
macro_rules! beginning {
    ($c:ident, $name:ident { $($field:ident),* }) => {$({
        let (name, field) = (stringify!($name), concat!(stringify!($name), ".", stringify!($field)));
        let (offset, size) = (offset_of!($name, $field), $crate::c::size_of_field(|s: &$name| &raw const s.$field));
        $crate::c::must(&mut $c, &format!("offsetof(struct {name}, {}) == {offset}", stringify!($field)), &format!("offset of {field}"));
        $crate::c::must(&mut $c, &format!("sizeof(((struct {name} *)0)->{}) == {size}", stringify!($field)), &format!("size of {field}"));
    })*};
}

pub(crate) fn must(c: &mut String, condition: &str, what: &str) {
    c.push_str(&format!("_Static_assert({condition}, \"{what}\");\n"));
}

pub(crate) fn size_of_field<S, F>(_: fn(&S) -> *const F) -> usize {
    size_of::<F>()
}

/// A C compiler that finds the headers.
pub(crate) struct Compiler(String);

/// Returns the installed compilers that find the headers. Reports each other compiler as SKIPPED.
pub(crate) fn compilers(test: &str, headers: &str, package: &str) -> Vec<Compiler> {
    let own = env::var("CC").unwrap_or_else(|_| "cc".into());
    let all = [own, "aarch64-linux-gnu-gcc".to_owned()].map(Compiler);
    let usable = all.into_iter().filter(|compiler| {
        let reason = match compiler.compile(headers) {
            Ok(output) if output.status.success() => return true,
            Ok(_) => format!(
                "{} does not find the headers; install them (Debian: {package}; for aarch64 also libc6-dev-arm64-cross)",
                compiler.0
            ),
            Err(error) => {
                format!("cannot run {}: {error}; install it (Debian: gcc, gcc-aarch64-linux-gnu with libc6-dev-arm64-cross)", compiler.0)
            }
        };
        // The line does not go through `eprintln!`, because cargo shows the output of `eprintln!` only if the test
        // fails.
        let _ = writeln!(io::stderr(), "SKIPPED {test}: {reason}");
        false
    });
    usable.collect()
}

impl Compiler {
    pub(crate) fn compile(&self, text: &str) -> io::Result<Output> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("layouts.c");
        fs::write(&file, text)?;
        // The vendors' headers are the same for every architecture. The compiler's own headers of the C library come
        // first.
        let mut command = Command::new(&self.0);
        command.args(["-std=c11", "-fsyntax-only", "-idirafter", "/usr/include"]);
        if let Some(folder) = env::var_os(NEURON_INCLUDE) {
            command.arg("-idirafter").arg(folder);
        }
        command.arg(file).output()
    }

    /// Asserts that the compiler accepts the text.
    pub(crate) fn accepts(&self, text: &str) {
        let output = self.compile(text).expect("the compiler ran before");
        assert!(output.status.success(), "{}: {}", self.0, String::from_utf8_lossy(&output.stderr));
    }

    /// Asserts that the compiler refuses the text with an error that contains `complaint`.
    pub(crate) fn refuses(&self, text: &str, complaint: &str) {
        let errors = self.compile(text).expect("the compiler ran before").stderr;
        let errors = String::from_utf8_lossy(&errors);
        assert!(errors.contains(complaint), "{}: {errors}", self.0);
    }
}
