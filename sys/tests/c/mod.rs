//! What C compilers say of the bindings: the machine's own, and Debian's for aarch64, whose binary interface is another.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::process::{Command, Output};

/// Where libnrt's headers are, if they are to be compared: AWS lets nobody pass them on.
pub(crate) const NEURON_INCLUDE: &str = "NEURON_INCLUDE_DIR";

/// Appends a `_Static_assert` for the structure's alignment and for each field's offset and size. Taking the structure apart
/// without `..` makes a field that is not named here an error of compilation.
macro_rules! structure {
    ($c:ident, $name:ident { $($field:ident),* $(,)? } $(except $unchecked:ident)?) => {{
        #[expect(dead_code, reason = "only its pattern is of interest")]
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

/// Offsets and sizes of the fields at the beginning of a structure that goes on.
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

/// A compiler that has the headers.
pub(crate) struct Compiler(String);

/// Those that are here and have the headers; says by name which is not.
pub(crate) fn compilers(test: &str, headers: &str, package: &str) -> Vec<Compiler> {
    let own = env::var("CC").unwrap_or_else(|_| "cc".into());
    let all = [own, "aarch64-linux-gnu-gcc".to_owned()].map(Compiler);
    let usable = all.into_iter().filter(|compiler| {
        let reason = match compiler.compile(headers) {
            Ok(output) if output.status.success() => return true,
            Ok(_) => format!(
                "{} does not find the headers (Debian: {package}; for aarch64 libc6-dev-arm64-cross as well)",
                compiler.0
            ),
            Err(error) => {
                format!("{}: {error} (Debian: gcc, gcc-aarch64-linux-gnu with libc6-dev-arm64-cross)", compiler.0)
            }
        };
        // Not by `eprintln!`, which cargo shows of failed tests only.
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
        // The vendors' headers are the same for every machine; those of the C library are the compiler's own, first.
        let mut command = Command::new(&self.0);
        command.args(["-std=c11", "-fsyntax-only", "-idirafter", "/usr/include"]);
        if let Some(folder) = env::var_os(NEURON_INCLUDE) {
            command.arg("-idirafter").arg(folder);
        }
        command.arg(file).output()
    }

    pub(crate) fn accepts(&self, text: &str) {
        let output = self.compile(text).expect("a compiler that was here before");
        assert!(output.status.success(), "{}: {}", self.0, String::from_utf8_lossy(&output.stderr));
    }

    /// It refuses the text, and complains about this.
    pub(crate) fn refuses(&self, text: &str, complaint: &str) {
        let errors = self.compile(text).expect("a compiler that was here before").stderr;
        let errors = String::from_utf8_lossy(&errors);
        assert!(errors.contains(complaint), "{}: {errors}", self.0);
    }
}
