//! The packages of the workspace.

/// A package of the workspace.
#[derive(Debug, PartialEq)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    /// The folder, relative to the workspace; empty for the top of the workspace.
    pub(crate) folder: &'static str,
    /// Whether the package is published on crates.io.
    pub(crate) published: bool,
    /// The cargo option that selects its unit tests; none for a package without Rust tests.
    pub(crate) unit_tests: Option<&'static str>,
}

impl Package {
    /// Returns the path, relative to the workspace, of a file of the package.
    pub(crate) fn file(&self, name: &str) -> String {
        if self.folder.is_empty() { name.to_owned() } else { format!("{}/{name}", self.folder) }
    }
}

/// All packages; a package comes after the packages that it depends on.
pub(crate) const PACKAGES: [Package; 8] = [
    package("nearfab-sys", "sys", true, Some("--lib")),
    package("nearfab", "", true, Some("--lib")),
    package("nearfab-emu", "emu", true, Some("--lib")),
    package("nearfab-cli", "cli", true, Some("--lib")),
    package("nearfab-dra", "dra", true, Some("--lib")),
    package("nearfab-capi", "capi", false, Some("--lib")),
    package("nearfab-python", "python", false, None),
    package("xtask", "xtask", false, Some("--bins")),
];

const fn package(
    name: &'static str,
    folder: &'static str,
    published: bool,
    unit_tests: Option<&'static str>,
) -> Package {
    Package { name, folder, published, unit_tests }
}

/// Returns the packages that are published.
pub(crate) fn published() -> impl Iterator<Item = &'static Package> {
    PACKAGES.iter().filter(|package| package.published)
}

/// Returns the package that a file belongs to; nothing for a file that no package compiles.
pub(crate) fn of_file(name: &str) -> Option<&'static Package> {
    let is_in = |package: &&Package| {
        !package.folder.is_empty() && name.strip_prefix(package.folder).is_some_and(|rest| rest.starts_with('/'))
    };
    if let Some(package) = PACKAGES.iter().find(is_in) {
        return Some(package);
    }
    const TOP: [&str; 7] = ["Cargo.toml", "build.rs", "benches/", "data/", "examples/", "src/", "tests/"];
    TOP.iter()
        .any(|start| name.starts_with(start))
        .then(|| PACKAGES.iter().find(|package| package.folder.is_empty()))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;

    #[test]
    fn a_file_belongs_to_the_package_of_its_folder() {
        let name = |file| of_file(file).map(|package| package.name);
        assert_eq!(name("src/topology/near.rs"), Some("nearfab"));
        assert_eq!(name("data/instances/trn2.48xlarge.toml"), Some("nearfab"));
        assert_eq!(name("sys/src/lib.rs"), Some("nearfab-sys"));
        assert_eq!(name("docs/launching.md"), None);
    }

    #[test]
    fn each_package_of_the_workspace_is_listed() {
        let manifests = files::tracked(&["*Cargo.toml", ":!fuzz"]).unwrap();
        let mut listed: Vec<String> = PACKAGES.iter().map(|package| package.file("Cargo.toml")).collect();
        listed.sort_unstable();
        assert_eq!(manifests, listed);
    }
}
