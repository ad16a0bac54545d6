//! Go, which builds the programs that come from Kubernetes.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::output;

/// Returns the Go command in a folder, without the settings of the user.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(folder)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .env("GOTOOLCHAIN", "local");
    command
}

/// Succeeds if Go is installed.
///
/// # Errors
/// If Go is missing, or older than `needed`.
pub(crate) fn require(needed: &str) -> Result<()> {
    let found = output(Command::new("go").args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local"))
        .with_context(|| format!("Go {needed} or newer is needed (https://go.dev/dl)"))?;
    let found = found.trim().trim_start_matches("go");
    if numbers(found) < numbers(needed) {
        bail!("Go {needed} or newer is needed, and Go {found} is installed (https://go.dev/dl)");
    }
    Ok(())
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn go_versions_compare_by_number() {
        assert!(numbers("1.26.8") > numbers("1.26.0"));
        assert!(numbers("1.9.9") < numbers("1.26.0"));
        assert!(numbers("1.26.0 X:some-experiment") >= numbers("1.26"));
    }
}
