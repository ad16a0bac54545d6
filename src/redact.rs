//! Takes out of a record what identifies a machine or its owner.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

mod words;
use crate::types::{Guid, Library};

/// Replaces values, equal ones by equal ones.
#[derive(Debug, Default)]
pub(crate) struct Redactor {
    numbers: BTreeMap<String, u32>,
    /// The folder that a tree was read from; what is below it is named as on a machine.
    root: Option<String>,
}

impl Redactor {
    pub(crate) fn number(&mut self, secret: &str) -> u32 {
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX).saturating_add(1);
        *self.numbers.entry(secret.to_owned()).or_insert(next)
    }

    pub(crate) fn word(&mut self, secret: &str) -> String {
        format!("redacted-{}", self.number(secret))
    }

    pub(crate) fn guid(&mut self, guid: Guid) -> Guid {
        Guid(u64::from(self.number(&guid.to_string())))
    }

    pub(crate) fn gid(&mut self, gid: Ipv6Addr) -> Ipv6Addr {
        const LINK_LOCAL: u128 = 0xfe80 << 112;
        Ipv6Addr::from(LINK_LOCAL | u128::from(self.number(&gid.to_string())))
    }

    /// Takes note of the folder of a tree, and gives it another name.
    pub(crate) fn root(&mut self, root: &Path) -> String {
        let root = root.to_string_lossy().into_owned();
        let name = format!("/{}", self.word(&root));
        self.root = Some(root);
        name
    }

    /// A name that stays if it is made of numbers and common words.
    pub(crate) fn name(&mut self, name: &str) -> String {
        if words::are_common(name, &[]) { name.to_owned() } else { self.word(name) }
    }

    /// A name that the kernel's rule, its driver or udev gave an RDMA device stays: the letters of such names, and numbers.
    pub(crate) fn rdma_name(&mut self, name: &str) -> String {
        const PREFIXES: [&str; 10] = ["efa_", "ib", "mlx4_", "mlx5_", "rdma", "roce", "rocep", "rxe", "siw", "rdmap"];
        let place = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit() || b"Ppsfdn".contains(&byte));
        let given = PREFIXES.iter().any(|prefix| name.strip_prefix(prefix).is_some_and(place));
        if given { name.to_owned() } else { self.word(name) }
    }

    /// A version or release: of its parts those up to the first that is neither a number nor a common word.
    pub(crate) fn version(&mut self, version: &str) -> String {
        if words::are_common(version, &[]) {
            return version.to_owned();
        }
        let head = version.split(['-', '+', '_']).next().filter(|head| words::are_common(head, &[])).unwrap_or("0");
        format!("{head}-{}", self.word(version))
    }

    /// A path: whole where it is the system's or a vendor's, else its folder replaced, and its file name too unless it is
    /// a library's.
    pub(crate) fn path(&mut self, path: &str) -> String {
        let below = self.root.clone().filter(|root| root != "/").and_then(|root| {
            let rest = path.strip_prefix(&root)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| (root, rest.to_owned()))
        });
        if let Some((root, rest)) = below {
            let rest = if rest.is_empty() { rest } else { self.path(&rest) };
            return format!("/{}{rest}", self.word(&root));
        }
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
        let is_library = Library::of_file(file).is_some_and(|_| words::is_library_version(file));
        if words::is_system_path(path) || (is_library && words::is_system_path(folder)) {
            return path.to_owned();
        }
        if is_library { format!("/{}/{file}", self.word(folder)) } else { format!("/{}", self.word(path)) }
    }

    /// Folders with colons between them, as in `PATH`.
    pub(crate) fn paths(&mut self, paths: &str) -> String {
        let redacted: Vec<String> = paths
            .split(':')
            .map(|path| if path.is_empty() || path == "." { path.to_owned() } else { self.path(path) })
            .collect();
        redacted.join(":")
    }

    /// The value of an environment variable; `names` are those of the host's RDMA devices.
    pub(crate) fn value(&mut self, variable: &str, value: &str, names: &[&str]) -> String {
        if words::PATH_VARIABLES.contains(&variable) {
            return self.paths(value);
        }
        let is_address = value.parse::<IpAddr>().is_ok();
        if words::is_harmless_variable(variable) && words::are_common(value, names) && !is_address {
            return value.to_owned();
        }
        self.word(value)
    }

    /// A sentence: what it quotes and what looks like an identity is replaced.
    pub(crate) fn sentence(&mut self, sentence: &str) -> String {
        let mut redacted = String::new();
        let mut rest = sentence;
        while let Some((before, quoted)) = rest.split_once('"') {
            redacted += &self.unquoted(before);
            let end = end_of_quote(quoted);
            redacted += &format!("\"{}\"", self.word(&quoted[..end]));
            rest = quoted.get(end + 1..).unwrap_or_default();
        }
        redacted + &self.unquoted(rest)
    }

    fn unquoted(&mut self, text: &str) -> String {
        let mut redacted = String::new();
        for part in text.split_inclusive(|c: char| c.is_whitespace() || "(),;=".contains(c)) {
            let word = part.trim_end_matches(|c: char| c.is_whitespace() || "(),;=:.".contains(c));
            redacted += &self.token(word);
            redacted += &part[word.len()..];
        }
        redacted
    }

    fn token(&mut self, word: &str) -> String {
        if word.starts_with('/') {
            return self.path(word);
        }
        if self.numbers.contains_key(word) || identifies(word) { self.word(word) } else { word.to_owned() }
    }
}

/// Where a text in the form of Rust's `Debug` ends.
fn end_of_quote(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at,
            _ => {}
        }
    }
    text.len()
}

/// Whether it has the form of an AWS id (`i-0123456789abcdef0`), a network or MAC address, a GUID, or a host name.
fn identifies(word: &str) -> bool {
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let aws_id = word.rsplit_once('-').is_some_and(|(_, id)| id.len() >= 8 && hex(id));
    let groups: Vec<&str> = word.split([':', '-']).collect();
    let grouped = |count: usize, length: usize| {
        groups.len() == count && groups.iter().all(|group| group.len() == length && hex(group))
    };
    let host_name = word.starts_with("ip-") || word.contains('@') || word.ends_with(".internal");
    aws_id || grouped(6, 2) || grouped(4, 4) || host_name || word.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sentences_lose_what_they_quote_and_identities() {
        let mut redactor = Redactor::default();
        assert_eq!(redactor.root(Path::new("/home/alice/tree")), "/redacted-1");
        redactor.word("5e71a100");
        let sentence = "/home/alice/tree/sys/class/x/node_guid: expected a GUID, found \"cd77 \\\" f833\"; 5e71a100 on \
                        i-0123456789abcdef0 (ip-10-0-0-1), 06:aa:bb:cc:dd:ee, 10.0.0.1: at 0000:c9:00.0";
        assert_eq!(
            redactor.sentence(sentence),
            "/redacted-1/sys/class/x/node_guid: expected a GUID, found \"redacted-3\"; redacted-2 on \
             redacted-4 (redacted-5), redacted-6, redacted-7: at 0000:c9:00.0"
        );
    }

    #[test]
    fn of_paths_the_system_s_stay() {
        let mut redactor = Redactor::default();
        for path in
            ["/opt/amazon/efa/lib/libfabric.so.1.30.0", "/usr/lib/x86_64-linux-gnu", "/opt/aws/neuron/bin/", "/"]
        {
            assert_eq!(redactor.path(path), path);
        }
        assert_eq!(
            redactor.path("/home/alice/venv/x.libs/libfabric-1a2b3c4d.so.1.25.0"),
            "/redacted-1/libfabric-1a2b3c4d.so.1.25.0"
        );
        assert_eq!(redactor.path("/home/alice/venv/x.libs/libnrt.so.2.34.10.0"), "/redacted-1/libnrt.so.2.34.10.0");
        assert_eq!(redactor.path("/home/alice/libnrt.so.alice"), "/redacted-2");
        assert_eq!(redactor.paths("/opt/aws/neuron/lib::/home/alice/bin"), "/opt/aws/neuron/lib::/redacted-3");
        assert_eq!(redactor.path("/usr/lib/../../home/alice"), "/redacted-4");
        assert_eq!(redactor.path("/usr/lib/alice"), "/redacted-5");
    }

    #[test]
    fn of_variables_the_harmless_keep_known_words() {
        let mut redactor = Redactor::default();
        let mut value = |name: &str, value: &str| redactor.value(name, value, &["rdmap201s0"]);
        assert_eq!(value("FI_PROVIDER", "^tcp,efa"), "^tcp,efa");
        assert_eq!(value("NEURON_RT_VISIBLE_CORES", "0-3,8"), "0-3,8");
        assert_eq!(value("FI_EFA_IFACE", "rdmap201s0,all"), "rdmap201s0,all");
        assert_eq!(value("FI_EFA_IFACE", ""), "");
        for (name, secret) in [
            ("FI_PROVIDER", "alice"),
            ("FI_EFA_IFACE", "rdmap201s0,alice0"),
            ("NEURON_RT_ROOT_COMM_ID", "10.0.0.1:4000"),
            ("NEURON_PROCESS_TAG", "1"),
            ("FI_EFA_TX_SIZE", "10.0.0.1"),
        ] {
            assert!(value(name, secret).starts_with("redacted-"), "{name}={secret}");
        }
    }

    #[test]
    fn of_versions_the_numbers_stay() {
        let mut redactor = Redactor::default();
        for version in ["6.1.102-111.182.amzn2023.x86_64", "6.1.0-28-cloud-amd64", "2.30.2.0", "3.1.0g", "2.x.7693.0"] {
            assert_eq!(redactor.version(version), version);
        }
        assert_eq!(redactor.version("6.1.0-alice+"), "6.1.0-redacted-1");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*", path in "(/?[a-z.\"]{0,6}){0,5}") {
            let mut redactor = Redactor::default();
            let _ = (redactor.sentence(&text), redactor.path(&text), redactor.version(&text), redactor.name(&text));
            let _ = (redactor.path(&path), redactor.paths(&path), redactor.sentence(&path), redactor.value("FI_PROVIDER", &text, &[]));
        }

        #[test]
        fn equal_stays_equal_and_different_different(a in "[a-z]{9,12}", b in "[a-z]{9,12}") {
            let mut redactor = Redactor::default();
            let (first, second, third) = (redactor.word(&a), redactor.word(&b), redactor.word(&a));
            prop_assert_eq!(&first, &third);
            prop_assert_eq!(first == second, a == b);
        }
    }
}
