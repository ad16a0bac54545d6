//! Removes from a record everything that identifies a machine or its owner.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

mod words;

use crate::types::{Guid, Library};

/// Replaces secrets: equal secrets by equal replacements, different secrets by different ones.
#[derive(Debug, Default)]
pub(crate) struct Redactor {
    /// The number of each secret, in the order in which the secrets were met.
    numbers: BTreeMap<String, u32>,
    /// The folder that a tree was read from. Paths below this folder are treated as paths of a machine.
    root: Option<String>,
}

impl Redactor {
    /// Returns the number of a secret.
    pub(crate) fn number(&mut self, secret: &str) -> u32 {
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX).saturating_add(1);
        *self.numbers.entry(secret.to_owned()).or_insert(next)
    }

    /// Returns the replacement of a secret word or text.
    pub(crate) fn word(&mut self, secret: &str) -> String {
        format!("redacted-{}", self.number(secret))
    }

    /// Returns the replacement of a GUID.
    pub(crate) fn guid(&mut self, guid: Guid) -> Guid {
        Guid(u64::from(self.number(&guid.to_string())))
    }

    /// Returns the replacement of a GID: a link-local address, like the GIDs of EFA interfaces.
    pub(crate) fn gid(&mut self, gid: Ipv6Addr) -> Ipv6Addr {
        const LINK_LOCAL: u128 = 0xfe80 << 112;
        Ipv6Addr::from(LINK_LOCAL | u128::from(self.number(&gid.to_string())))
    }

    /// Stores the folder that a tree was read from, and returns the replacement of the folder.
    pub(crate) fn root(&mut self, root: &Path) -> String {
        let root = root.to_string_lossy().into_owned();
        let name = format!("/{}", self.word(&root));
        self.root = Some(root);
        name
    }

    /// Returns a name unchanged if it consists of numbers and common words. Returns the replacement of the name
    /// otherwise.
    pub(crate) fn name(&mut self, name: &str) -> String {
        if words::are_common(name, &[]) { name.to_owned() } else { self.word(name) }
    }

    /// Returns the name of an RDMA device unchanged if the kernel, the device's driver or udev made it: a known prefix,
    /// numbers and the letters that udev puts between them. Returns the replacement of the name otherwise.
    pub(crate) fn rdma_name(&mut self, name: &str) -> String {
        const PREFIXES: [&str; 10] = ["efa_", "ib", "mlx4_", "mlx5_", "rdma", "roce", "rocep", "rxe", "siw", "rdmap"];
        let is_place = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit() || b"Ppsfdn".contains(&byte));
        let is_default = PREFIXES.iter().any(|prefix| name.strip_prefix(prefix).is_some_and(is_place));
        if is_default { name.to_owned() } else { self.word(name) }
    }

    /// Returns the parts of a version or release up to the first part that is neither a number nor a common word.
    pub(crate) fn version(&mut self, version: &str) -> String {
        if words::are_common(version, &[]) {
            return version.to_owned();
        }
        let head = version.split(['-', '+', '_']).next().filter(|head| words::are_common(head, &[])).unwrap_or("0");
        format!("{head}-{}", self.word(version))
    }

    /// Returns a path unchanged if the path belongs to the system or to a vendor's package. Replaces the folder of any
    /// other path. Also replaces the file name, unless the file is a library.
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
            return self.without_secret_parts(path);
        }
        if is_library { format!("/{}/{file}", self.word(folder)) } else { format!("/{}", self.word(path)) }
    }

    /// Replaces the parts of a path that are known secrets, such as the name that an owner gave an RDMA device.
    fn without_secret_parts(&mut self, path: &str) -> String {
        let parts: Vec<String> = path
            .split('/')
            .map(|part| if self.numbers.contains_key(part) { self.word(part) } else { part.to_owned() })
            .collect();
        parts.join("/")
    }

    /// Returns a list of folders with colons between them, as in `PATH`, each folder as [`path`](Self::path) returns
    /// it.
    pub(crate) fn paths(&mut self, paths: &str) -> String {
        let redacted: Vec<String> = paths
            .split(':')
            .map(|path| if path.is_empty() || path == "." { path.to_owned() } else { self.path(path) })
            .collect();
        redacted.join(":")
    }

    /// Returns the value of an environment variable unchanged if neither the variable nor the value can identify an
    /// owner. `names` are the names of the host's RDMA devices. These names may stay.
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

    /// Returns a sentence without quoted texts, paths, known secrets and words that have the form of an identity.
    ///
    /// The name of a folder can contain any character, so the end of a path in a sentence is not certain. If the end is
    /// in doubt, the longer path is assumed ([`end_of_path`]): replacing too much of a sentence does no harm.
    pub(crate) fn sentence(&mut self, sentence: &str) -> String {
        let mut redacted = String::new();
        let mut rest = sentence;
        while let Some((at, part)) = self.next_part(rest) {
            redacted += &self.words(&rest[..at]);
            let (text, end) = match part {
                Part::Secret(length) => (self.secret(&rest[at..at + length]), at + length),
                Part::Path => {
                    let end = at + end_of_path(&rest[at..]);
                    (self.path(&rest[at..end]), end)
                }
                Part::Quote => {
                    let quoted = &rest[at + 1..];
                    let length = end_of_quote(quoted);
                    (format!("\"{}\"", self.word(&quoted[..length])), (at + length + 2).min(rest.len()))
                }
            };
            redacted += &text;
            rest = &rest[end..];
        }
        redacted + &self.words(rest)
    }

    /// Returns the first part of a sentence that is replaced as a whole, and its position.
    fn next_part(&self, text: &str) -> Option<(usize, Part)> {
        let path = text.match_indices('/').map(|(at, _)| at).find(|&at| starts_path(&text[..at], &text[at..]));
        let quote = text.find('"');
        let secret = self.long_secrets().filter_map(|secret| Some((text.find(secret)?, secret.len())));
        // If two secrets are at one position, the longer secret counts.
        let secret = secret.min_by_key(|&(at, length)| (at, Reverse(length)));
        let secret = secret.map(|(at, length)| (at, Part::Secret(length)));
        let parts = [secret, path.map(|at| (at, Part::Path)), quote.map(|at| (at, Part::Quote))];
        parts.into_iter().flatten().min_by_key(|&(at, _)| at)
    }

    /// Returns the secrets that [`words`](Self::words) does not find, because these secrets consist of several words.
    /// Paths are left out, except a relative root.
    fn long_secrets(&self) -> impl Iterator<Item = &str> {
        let is_long = |secret: &&str| secret.contains(is_separator) && !secret.starts_with('/');
        let root = self.root.as_deref().filter(|root| !root.starts_with('/') && !root.is_empty());
        self.numbers.keys().map(String::as_str).filter(is_long).chain(root)
    }

    fn secret(&mut self, secret: &str) -> String {
        let word = self.word(secret);
        if self.root.as_deref() == Some(secret) { format!("/{word}") } else { word }
    }

    /// Replaces each word that is a known secret or has the form of an identity.
    fn words(&mut self, text: &str) -> String {
        let mut redacted = String::new();
        for part in text.split_inclusive(is_separator) {
            let word = part.trim_end_matches(|c: char| is_separator(c) || ":.".contains(c));
            let is_secret = self.numbers.contains_key(word) || is_identity(word);
            redacted += &if is_secret { self.word(word) } else { word.to_owned() };
            redacted += &part[word.len()..];
        }
        redacted
    }
}

/// A part of a sentence that is replaced as a whole.
#[derive(Clone, Copy)]
enum Part {
    /// A known secret with this number of bytes.
    Secret(usize),
    /// A path, from its first slash on.
    Path,
    /// A text in quotation marks.
    Quote,
}

/// Returns true if a character separates the words of a sentence.
fn is_separator(c: char) -> bool {
    c.is_whitespace() || "(),;=".contains(c)
}

/// Returns true if a path begins at the slash between two texts. The slashes of `https://`, `and/or` and relative paths
/// begin no path.
fn starts_path(before: &str, from_slash: &str) -> bool {
    match before.chars().next_back() {
        None => true,
        Some(':') => !from_slash.starts_with("//"),
        Some(c) => is_separator(c) || "'`[{<>|".contains(c),
    }
}

/// Returns the length of the path at the beginning of a text.
///
/// After a path, the sentences of [`Error`](crate::Error) end in one of two forms: `: expected FORM, found "TEXT"`, or
/// `: ` and the text of an errno. Only the last such place in the text counts, because the path can contain these words
/// too. If a text ends in neither form, the whole text counts as the path.
fn end_of_path(text: &str) -> usize {
    let whole = text.len();
    if let Some(head) = text.strip_suffix('"') {
        // Quotation marks inside TEXT are escaped.
        let is_open = |&(at, _): &(usize, &str)| {
            let escapes = head[..at].bytes().rev().take_while(|byte| *byte == b'\\').count();
            escapes % 2 == 0
        };
        let Some((open, _)) = head.rmatch_indices('"').find(is_open) else { return whole };
        let path_and_form = head[..open].strip_suffix(", found ");
        return path_and_form.and_then(|text| text.rfind(": expected ")).unwrap_or(whole);
    }
    let Some((path, cause)) = text.rsplit_once(": ") else { return whole };
    if is_cause(cause) { path.len() } else { whole }
}

/// Returns true if a text is the text of an errno: `Permission denied (os error 13)`.
fn is_cause(text: &str) -> bool {
    let Some((text, number)) = text.strip_suffix(')').and_then(|text| text.split_once(" (os error ")) else {
        return false;
    };
    let in_words = text.bytes().all(|byte| byte.is_ascii_alphabetic() || b" -/,'".contains(&byte));
    in_words && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the position of the quotation mark that ends a text in the form of Rust's `Debug`.
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

/// Returns true if a word has the form of an AWS id (`i-0123456789abcdef0`), a network or MAC address, a GUID, or a
/// host name.
fn is_identity(word: &str) -> bool {
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
    fn sentences_lose_quoted_texts_and_identities() {
        let mut redactor = Redactor::default();
        redactor.word("5e71a100");
        redactor.word("Acme Secret 2");
        let sentence = "found \"cd77 \\\" f833\"; 5e71a100 on i-0123456789abcdef0 (ip-10-0-0-1), 06:aa:bb:cc:dd:ee, \
                        10.0.0.1: at 0000:c9:00.0, the driver Acme Secret 2 and/or https";
        assert_eq!(
            redactor.sentence(sentence),
            "found \"redacted-3\"; redacted-1 on redacted-4 (redacted-5), redacted-6, redacted-7: at 0000:c9:00.0, the \
             driver redacted-2 and/or https"
        );
    }

    #[test]
    fn sentences_about_files_keep_the_paths_of_the_system_and_the_reason() {
        let mut redactor = Redactor::default();
        assert_eq!(redactor.root(Path::new("/home/alice/tree")), "/redacted-1");
        for (sentence, redacted) in [
            (
                "/home/alice/tree/sys/class/x/node_guid: expected a state such as 4: ACTIVE, found \"cd77 \\\" f833\"",
                "/redacted-1/sys/class/x/node_guid: expected a state such as 4: ACTIVE, found \"redacted-2\"",
            ),
            (
                "cannot read /home/alice/tree/sys/class/x: Permission denied (os error 13)",
                "cannot read /redacted-1/sys/class/x: Permission denied (os error 13)",
            ),
            (
                "cannot read /etc/ld.so.conf.d/Acme: Secret.conf: Permission denied (os error 13)",
                "cannot read /redacted-3: Permission denied (os error 13)",
            ),
            ("cannot read /opt/Acme \"Secret\" Co: x", "cannot read /redacted-4"),
        ] {
            assert_eq!(redactor.sentence(sentence), redacted);
        }
    }

    #[test]
    fn paths_of_the_system_lose_names_that_an_owner_gave() {
        let mut redactor = Redactor::default();
        assert_eq!(redactor.rdma_name("rdmap201s0"), "rdmap201s0");
        assert_eq!(redactor.rdma_name("Acme Secret"), "redacted-1");
        let sentence = "/sys/class/infiniband/Acme Secret/node_guid: expected a GUID, found \"\"";
        assert_eq!(
            redactor.sentence(sentence),
            "/sys/class/infiniband/redacted-1/node_guid: expected a GUID, found \"redacted-2\""
        );
    }

    #[test]
    fn paths_of_the_system_and_of_vendors_stay() {
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
    fn harmless_variables_keep_numbers_and_common_words() {
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
    fn versions_keep_their_numbers() {
        let mut redactor = Redactor::default();
        for version in ["6.1.102-111.182.amzn2023.x86_64", "6.1.0-28-cloud-amd64", "2.30.2.0", "3.1.0g", "2.x.7693.0"] {
            assert_eq!(redactor.version(version), version);
        }
        assert_eq!(redactor.version("6.1.0-alice+"), "6.1.0-redacted-1");
    }

    /// A name with a secret word on both sides of each character that sentences and paths give a meaning.
    const SECRET_NAME: &str =
        "zq[a-z]{2,6}(([ ,;:=()\"'\\\\.-]|: |, found \"|: expected | \\(os error )zq[a-z]{2,6}){1,4}";

    /// The words of such a name.
    fn secret_words(name: &str) -> impl Iterator<Item = &str> {
        name.split(|c: char| !c.is_alphanumeric()).filter(|word| word.starts_with("zq"))
    }

    proptest! {
        #[test]
        fn no_word_of_a_folder_s_name_stays_in_a_sentence(
            name in SECRET_NAME,
            file in SECRET_NAME,
            found in SECRET_NAME,
            is_root in any::<bool>(),
            is_relative in any::<bool>(),
        ) {
            let mut redactor = Redactor::default();
            let folder = if is_relative && is_root { name.clone() } else { format!("/home/{name}") };
            if is_root {
                redactor.root(Path::new(&folder));
            }
            for path in [folder.clone(), format!("{folder}/{file}"), format!("{folder}/sys/class/{file}/state")] {
                if path.contains(&file) {
                    redactor.word(&file); // A device's name, which the record has in a field.
                }
                for sentence in [
                    format!("cannot read {path}: Permission denied (os error 13)"),
                    format!("{path}: expected a port state such as 4: ACTIVE, found {found:?}"),
                    format!("unknown text about {path}"),
                    format!("unknown text about {path:?} and {found:?}"),
                ] {
                    let redacted = redactor.sentence(&sentence);
                    for word in secret_words(&name).chain(secret_words(&file)).chain(secret_words(&found)) {
                        prop_assert!(!redacted.contains(word), "{redacted:?} contains {word:?} of {sentence:?}");
                    }
                }
            }
        }

        #[test]
        fn no_word_of_a_folder_s_name_stays_in_a_path(name in SECRET_NAME, library in "libnrt(-[0-9a-f]{8})?\\.so\\.2\\.34") {
            let mut redactor = Redactor::default();
            let paths = format!("/opt/aws/neuron/lib:/home/{name}/lib:{name}");
            let redacted = [
                redactor.path(&format!("/home/{name}")),
                redactor.path(&format!("/home/{name}/{library}")),
                redactor.paths(&paths),
                redactor.value("LD_LIBRARY_PATH", &paths, &[]),
            ];
            for text in redacted {
                prop_assert!(secret_words(&name).all(|word| !text.contains(word)), "{text:?} of {name:?}");
            }
        }

        /// In the plain reading, a sentence without slash, quotation mark, colon and full stop is a sequence of words.
        #[test]
        fn sentence_without_paths_and_quotes_is_replaced_word_by_word(
            words in proptest::collection::vec("[a-z]{1,6}|i-[0-9a-f]{17}|ip-[0-9-]{3,9}", 0..8),
            secret in "[a-z]{1,2}",
        ) {
            let mut redactor = Redactor::default();
            let replaced = redactor.word(&secret);
            let mut plain = Vec::new();
            let mut identities: Vec<&String> = Vec::new();
            for word in &words {
                let is_identity = word.starts_with("i-") || word.starts_with("ip-");
                if is_identity && !identities.contains(&word) {
                    identities.push(word);
                }
                plain.push(match identities.iter().position(|identity| *identity == word) {
                    Some(at) => format!("redacted-{}", at + 2),
                    None if *word == secret => replaced.clone(),
                    None => word.clone(),
                });
            }
            prop_assert_eq!(redactor.sentence(&words.join(" ")), plain.join(" "));
        }

        #[test]
        fn names_and_versions_stay_exactly_if_every_part_is_common(
            parts in proptest::collection::vec("[0-9]{1,4}|amzn2023|x86|zq[a-z]{1,3}", 1..5),
            separator in "[-_.]",
        ) {
            let text = parts.join(&separator);
            let is_common = parts.iter().all(|part| !part.starts_with("zq"));
            let mut redactor = Redactor::default();
            prop_assert_eq!(redactor.name(&text) == text, is_common);
            prop_assert_eq!(redactor.version(&text) == text, is_common);
            prop_assert_eq!(redactor.value("FI_PROVIDER", &text, &[]) == text, is_common);
            prop_assert!(!redactor.version(&text).contains("zq"));
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
