//! Temporary files in memory. The trees of emulated hosts have thousands of small files, which a disk writes slowly.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use crate::run::output;

/// Mounts memory at the folder `$1`, and runs the rest of the arguments with their temporary files there.
const SCRIPT: &str =
    r#"mount -t tmpfs -o mode=1777 nearfab "$1" && TMPDIR="$1" && export TMPDIR && shift && exec "$@""#;

/// Returns a command that runs a program with its temporary files in memory. The mount is in a private namespace and ends
/// with the program. If this user may not mount, the temporary files are where they always are.
pub(crate) fn command(program: &Path) -> Command {
    static MOUNTS: LazyLock<bool> = LazyLock::new(|| output(wrapped().arg("true")).is_ok());
    if !*MOUNTS {
        return Command::new(program);
    }
    let mut command = wrapped();
    command.arg(program);
    command
}

fn wrapped() -> Command {
    // Not in the target folder: the path of a socket has at most 108 bytes.
    let folder = std::env::temp_dir().join("nearfab-tests");
    // If the folder cannot be made, the mount fails.
    let _ = fs::create_dir_all(&folder);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--", "sh", "-c", SCRIPT, "sh"]).arg(folder);
    command
}
