//! What texts mean, read by other means than the library's: plain, slow, by the forms that the kernel, the drivers and
//! people write. What is no such text has no reading.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Whether a text has a form, in which `x` stands for a hexadecimal digit and all else for itself.
fn has_form(text: &str, form: &str) -> bool {
    let fits = |(found, wanted): (char, char)| if wanted == 'x' { found.is_ascii_hexdigit() } else { found == wanted };
    text.chars().count() == form.len() && text.chars().zip(form.chars()).all(fits)
}

/// The hexadecimal digits of a text as one number, whatever stands between them.
fn hex(text: &str) -> u64 {
    text.chars().filter_map(|digit| digit.to_digit(16)).fold(0, |number, digit| number << 4 | u64::from(digit))
}

/// A text of hexadecimal digits, so many or fewer.
pub fn hex_up_to(digits: usize, text: &str) -> Option<u64> {
    ((1..=digits).contains(&text.len()) && has_form(text, &"x".repeat(text.len()))).then(|| hex(text))
}

/// A text of decimal digits that is no larger.
pub fn number_up_to(most: u64, text: &str) -> Option<u64> {
    if text.is_empty() || text.chars().any(|digit| !digit.is_ascii_digit()) {
        return None;
    }
    text.chars().try_fold(0, |number: u64, digit| {
        let next = number.checked_mul(10)?.checked_add(u64::from(digit.to_digit(10)?))?;
        (next <= most).then_some(next)
    })
}

/// A text of decimal digits that is a number of 32 bits.
pub fn number(text: &str) -> Option<u64> {
    number_up_to(u32::MAX.into(), text)
}

/// The address of a PCI function in its full form.
pub fn address(text: &str) -> Option<String> {
    let full = if has_form(text, "xx:xx.x") { format!("0000:{text}") } else { text.to_owned() };
    let form = (4..=8).map(|digits| "x".repeat(digits) + ":xx:xx.x").find(|form| has_form(&full, form))?;
    let (domain, place) = full.split_at(form.len() - ":xx:xx.x".len());
    let (device, function) = (hex(&place[4..6]), hex(&place[7..]));
    (device < 32 && function < 8).then(|| format!("{:04x}{}", hex(domain), place.to_lowercase()))
}

/// A root bus in the form that is written.
pub fn root(text: &str) -> Option<String> {
    let forms = (4..=8).map(|digits| format!("pci{}:xx", "x".repeat(digits)));
    forms.into_iter().find(|form| has_form(text, form))?;
    let (domain, bus) = text[3..].split_at(text.len() - "pci:xx".len());
    Some(format!("pci{:04x}{}", hex(domain), bus.to_lowercase()))
}

/// Vendor and device id in the form that is written.
pub fn id(text: &str) -> Option<String> {
    has_form(text, "xxxx:xxxx").then(|| text.to_lowercase())
}

/// The number of a Neuron device.
pub fn device(text: &str) -> Option<u64> {
    if text.get(..6)? == "neuron" { number(&text[6..]) } else { None }
}

/// The numbers of a device and a core of it.
pub fn core(text: &str) -> Option<(u64, u64)> {
    match text.split(':').collect::<Vec<_>>()[..] {
        [of, core] => Some((device(of)?, number(core)?)),
        _ => None,
    }
}

/// A number with or without so many digits after a point, times ten to that power, with 32 bits.
fn decimal(digits: usize, text: &str) -> Option<u64> {
    let (whole, fraction) = match text.split('.').collect::<Vec<_>>()[..] {
        [whole] => (whole, "0"),
        [whole, fraction] if (1..=digits).contains(&fraction.len()) => (whole, fraction),
        _ => return None,
    };
    number(whole)?; // Digits that are there.
    number(&format!("{whole}{fraction}{}", "0".repeat(digits - fraction.len())))
}

/// A link speed in the form that is written.
pub fn speed(text: &str) -> Option<String> {
    if ["unknown", "unknown speed"].contains(&text.to_lowercase().as_str()) {
        return Some("unknown".to_owned());
    }
    let words: Vec<&str> = text.split(' ').collect();
    let (["GT/s"] | ["GT/s", "PCIe"]) = words[1..] else { return None };
    let mega = decimal(3, words[0])?;
    let mut written = format!("{}.{:03}", mega / 1000, mega % 1000);
    while written.ends_with('0') && !written.ends_with(".0") {
        written.pop();
    }
    Some(format!("{written} GT/s"))
}

/// A link width in the form that is written.
pub fn width(text: &str) -> Option<String> {
    let number = number_up_to(255, text.strip_prefix('x').unwrap_or(text));
    match number {
        Some(0 | 255) => Some("unknown".to_owned()),
        Some(lanes) => Some(format!("x{lanes}")),
        None => (text == "unknown").then(|| text.to_owned()),
    }
}

/// A GUID in the form that is written.
pub fn guid(text: &str) -> Option<String> {
    has_form(text, "xxxx:xxxx:xxxx:xxxx").then(|| text.to_lowercase())
}

/// The state of a port.
pub fn port_state(text: &str) -> Option<u64> {
    number(text.split(':').next()?)
}

/// The rate of a port in Mb/s.
pub fn rate(text: &str) -> Option<u64> {
    let end = text.find(" Gb/sec")?;
    let hundreds = decimal(1, &text[..end])?;
    hundreds.checked_mul(100).filter(|&mega| mega <= u32::MAX.into())
}

/// A NUMA node; the inner `None` is no node.
pub fn numa_node(text: &str) -> Option<Option<u64>> {
    if text == "-1" { Some(None) } else { number(text).map(Some) }
}

/// A CPU list as a row of places, each marked or not; the last is marked.
pub fn cpus(text: &str) -> Option<Vec<bool>> {
    let cpu = |text: &str| if text.len() > 6 { None } else { number(text).and_then(|cpu| usize::try_from(cpu).ok()) };
    let mut row = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let ends: Vec<&str> = part.split('-').collect();
        let (first, last) = match ends[..] {
            [one] => (cpu(one)?, cpu(one)?),
            [first, last] => (cpu(first)?, cpu(last)?),
            _ => return None,
        };
        if first > last {
            return None;
        }
        row.resize(row.len().max(last + 1), false);
        row[first..=last].fill(true);
    }
    Some(row)
}

/// A CPU list in the form that is written.
pub fn written_cpus(row: &[bool]) -> String {
    let mut ranges = Vec::new();
    let mut cpu = 0;
    while cpu < row.len() {
        let length = row[cpu..].iter().take_while(|&&marked| marked).count();
        match length {
            0 => {}
            1 => ranges.push(cpu.to_string()),
            _ => ranges.push(format!("{cpu}-{}", cpu + length - 1)),
        }
        cpu += length.max(1);
    }
    ranges.join(",")
}

/// What a uevent says of a key first.
pub fn of_uevent<'a>(key: &str, text: &'a str) -> Option<&'a str> {
    let line = |line: &'a str| line.strip_suffix('\r').unwrap_or(line);
    text.split('\n').map(line).find_map(|line| line.split_once('=').filter(|(name, _)| *name == key)).map(|(_, v)| v)
}

/// The devices that a device is linked to.
pub fn links(text: &str) -> Option<Vec<u64>> {
    text.replace(',', " ").split(' ').filter(|part| !part.is_empty()).map(number).collect()
}

/// The size that the last sound line of the node's file sets.
pub fn lnc(text: &str) -> Option<u64> {
    let mut size = None;
    for line in text.lines() {
        match line.split_once('=') {
            Some((name, value)) if name.trim() == "NEURON_LOGICAL_NC_CONFIG" => {
                size = number(value.trim()).filter(|size| [1, 2].contains(size)).or(size);
            }
            _ => {}
        }
    }
    size
}

/// Major and minor number of a released version of the Neuron driver.
pub fn driver_version(text: &str) -> Option<(u64, u64)> {
    let parts: Vec<&str> = text.split('.').collect();
    Some((number(parts[0])?, number(parts.get(1)?)?))
}

/// The vendors' libraries, by their names up to `.so`, in the order in which they are listed.
pub const LIBRARIES: [&str; 5] = ["libibverbs", "libefa", "libfabric", "libnrt", "libnccom"];

/// Which library a file is, under its own name or with the hash of a wheel.
pub fn library(file: &str) -> Option<&'static str> {
    let (begin, end) = file.split_once(".so")?;
    let (name, hash) = begin.split_once('-').map_or((begin, None), |(name, hash)| (name, Some(hash)));
    let hashed = hash.is_none_or(|hash| hash.len() > 5 && has_form(hash, &"x".repeat(hash.len())));
    LIBRARIES.into_iter().find(|library| *library == name && hashed && (end.is_empty() || end.starts_with('.')))
}

/// The folders in a file of the loader.
pub fn loader_folders(text: &str) -> Vec<String> {
    let lines = text.split('\n').map(|line| line.split('#').next().unwrap_or_default().trim());
    let folders = lines.filter(|line| line.starts_with('/'));
    let trimmed = |folder: &str| {
        let mut folder = folder.to_owned();
        while folder.len() > 1 && folder.ends_with('/') {
            folder.pop();
        }
        folder
    };
    folders.map(trimmed).collect()
}

/// The bytes that may be locked; the inner `None` is no limit.
pub fn locked_memory(limits: &str) -> Option<Option<u64>> {
    let begin = "Max locked memory";
    let line = limits.split('\n').find(|line| line.starts_with(begin))?;
    match line[begin.len()..].split_whitespace().next()? {
        "unlimited" => Some(None),
        bytes => number_up_to(u64::MAX, bytes).map(Some),
    }
}

/// Whether a process may lock more than that: bit 14, the third of the fourth digit from the right.
pub fn may_lock(status: &str) -> Option<bool> {
    let line = status.split('\n').find(|line| line.starts_with("CapEff:"))?;
    let mask = line["CapEff:".len()..].trim();
    hex_up_to(16, mask)?;
    let digit = mask.chars().rev().nth(3).and_then(|digit| digit.to_digit(16)).unwrap_or(0);
    Some(digit & 4 != 0)
}

/// Those variables of an environment that matter; of two of one name the first counts, as for `getenv`.
pub fn environment(text: &str) -> BTreeMap<&str, &str> {
    let begins = ["FI_", "IBV_", "MLX5_", "NCCL_", "NEURON", "OFI_NCCL_", "RDMAV_", "VERBS_"];
    let names = ["AWS_NEURON_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH"];
    let mut all = BTreeMap::new();
    for pair in text.split('\0') {
        let Some((name, value)) = pair.split_once('=') else { continue };
        if names.contains(&name) || begins.iter().any(|begin| name.starts_with(begin)) {
            all.entry(name).or_insert(value);
        }
    }
    all
}

/// The libraries that a process has mapped as they are recorded, each file once.
pub fn mapped(maps: &str) -> Vec<Value> {
    let mut files = Vec::new();
    let mut all = Vec::new();
    for line in maps.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        if fields.len() < 6 {
            continue;
        }
        let file = (fields[3], fields[4]);
        let named = fields[5..].join(" ");
        let named = named.trim_start_matches(' ');
        let path = named.strip_suffix(" (deleted)").unwrap_or(named);
        let name = path.chars().rev().take_while(|c| *c != '/').collect::<Vec<_>>();
        let library = library(&name.into_iter().rev().collect::<String>());
        if let Some(library) = library.filter(|_| path.starts_with('/') && !files.contains(&file)) {
            files.push(file);
            all.push(json!({"library": library, "path": path, "deleted": path != named}));
        }
    }
    all
}

/// The numbers that a version begins with, at least two, in the form that is written.
pub fn version(text: &str) -> Option<String> {
    let digits: String = text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let mut parts: Vec<&str> = digits.split('.').collect();
    while parts.last() == Some(&"") {
        parts.pop();
    }
    let numbers: Vec<String> = parts.iter().map(|part| Some(number(part)?.to_string())).collect::<Option<_>>()?;
    (numbers.len() > 1).then(|| numbers.join("."))
}
