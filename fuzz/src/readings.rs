//! Plain readings of texts. They are slow and share no code with the library, and they follow the forms that the kernel, the
//! drivers and users write. A text in another form has no reading.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Returns true if a text has a form. An `x` in the form matches a hexadecimal digit, every other character matches itself.
fn has_form(text: &str, form: &str) -> bool {
    let fits = |(found, wanted): (char, char)| if wanted == 'x' { found.is_ascii_hexdigit() } else { found == wanted };
    text.chars().count() == form.len() && text.chars().zip(form.chars()).all(fits)
}

/// Returns the hexadecimal digits of a text as one number, and skips all other characters.
fn hex(text: &str) -> u64 {
    text.chars().filter_map(|digit| digit.to_digit(16)).fold(0, |number, digit| number << 4 | u64::from(digit))
}

/// Reads a text of at most `digits` hexadecimal digits.
pub fn hex_up_to(digits: usize, text: &str) -> Option<u64> {
    ((1..=digits).contains(&text.len()) && has_form(text, &"x".repeat(text.len()))).then(|| hex(text))
}

/// Reads a text of decimal digits, if the number is at most `limit`.
pub fn number_up_to(limit: u64, text: &str) -> Option<u64> {
    if text.is_empty() || text.chars().any(|digit| !digit.is_ascii_digit()) {
        return None;
    }
    text.chars().try_fold(0, |number: u64, digit| {
        let next = number.checked_mul(10)?.checked_add(u64::from(digit.to_digit(10)?))?;
        (next <= limit).then_some(next)
    })
}

/// Reads a text of decimal digits, if the number fits 32 bits.
pub fn number(text: &str) -> Option<u64> {
    number_up_to(u32::MAX.into(), text)
}

/// Reads the address of a PCI function, and returns its full form.
pub fn address(text: &str) -> Option<String> {
    let full = if has_form(text, "xx:xx.x") { format!("0000:{text}") } else { text.to_owned() };
    let form = (4..=8).map(|digits| "x".repeat(digits) + ":xx:xx.x").find(|form| has_form(&full, form))?;
    let (domain, place) = full.split_at(form.len() - ":xx:xx.x".len());
    let (device, function) = (hex(&place[4..6]), hex(&place[7..]));
    (device < 32 && function < 8).then(|| format!("{:04x}{}", hex(domain), place.to_lowercase()))
}

/// Reads a root bus, and returns the form that nearfab writes.
pub fn root(text: &str) -> Option<String> {
    // The kernel pads to four digits and writes no zero in front of more.
    if text.len() > "pci0000:00".len() && text.starts_with("pci0") {
        return None;
    }
    let forms = (4..=8).map(|digits| format!("pci{}:xx", "x".repeat(digits)));
    forms.into_iter().find(|form| has_form(text, form))?;
    let (domain, bus) = text[3..].split_at(text.len() - "pci:xx".len());
    Some(format!("pci{:04x}{}", hex(domain), bus.to_lowercase()))
}

/// Reads a vendor and device id, and returns the form that nearfab writes.
pub fn id(text: &str) -> Option<String> {
    has_form(text, "xxxx:xxxx").then(|| text.to_lowercase())
}

/// Reads the number of a Neuron device.
pub fn device(text: &str) -> Option<u64> {
    if text.get(..6)? == "neuron" { number(&text[6..]) } else { None }
}

/// Reads the number of a Neuron device and the number of its core.
pub fn core(text: &str) -> Option<(u64, u64)> {
    match text.split(':').collect::<Vec<_>>()[..] {
        [device_text, core] => Some((device(device_text)?, number(core)?)),
        _ => None,
    }
}

/// Reads a number with at most `digits` digits after a point, and returns it times ten to the power of `digits`, if that fits
/// 32 bits.
fn decimal(digits: usize, text: &str) -> Option<u64> {
    let (whole, fraction) = match text.split('.').collect::<Vec<_>>()[..] {
        [whole] => (whole, "0"),
        [whole, fraction] if (1..=digits).contains(&fraction.len()) => (whole, fraction),
        _ => return None,
    };
    number(whole)?; // Refuses an empty text before the point.
    number(&format!("{whole}{fraction}{}", "0".repeat(digits - fraction.len())))
}

/// Reads a link speed, and returns the form that nearfab writes.
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

/// Reads a link width, and returns the form that nearfab writes.
pub fn width(text: &str) -> Option<String> {
    let number = number_up_to(255, text.strip_prefix('x').unwrap_or(text));
    match number {
        Some(0 | 255) => Some("unknown".to_owned()),
        Some(lanes) => Some(format!("x{lanes}")),
        None => (text == "unknown").then(|| text.to_owned()),
    }
}

/// Reads a GUID, and returns the form that nearfab writes.
pub fn guid(text: &str) -> Option<String> {
    has_form(text, "xxxx:xxxx:xxxx:xxxx").then(|| text.to_lowercase())
}

/// Reads the state of a port.
pub fn port_state(text: &str) -> Option<u64> {
    number(text.split(':').next()?)
}

/// Reads the rate of a port, and returns it in Mb/s.
pub fn rate(text: &str) -> Option<u64> {
    let end = text.find(" Gb/sec")?;
    let hundreds = decimal(1, &text[..end])?;
    hundreds.checked_mul(100).filter(|&mega| mega <= u32::MAX.into())
}

/// Reads a NUMA node. The inner `None` means that there is no node.
pub fn numa_node(text: &str) -> Option<Option<u64>> {
    if text == "-1" { Some(None) } else { number(text).map(Some) }
}

/// Reads a CPU list. Returns true at the position of each CPU in the list; the last position is true.
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

/// Returns a CPU list in the form that nearfab writes.
pub fn written_cpus(row: &[bool]) -> String {
    let mut ranges = Vec::new();
    let mut cpu = 0;
    while cpu < row.len() {
        let length = row[cpu..].iter().take_while(|&&listed| listed).count();
        match length {
            0 => {}
            1 => ranges.push(cpu.to_string()),
            _ => ranges.push(format!("{cpu}-{}", cpu + length - 1)),
        }
        cpu += length.max(1);
    }
    ranges.join(",")
}

/// Returns the first value of a key in a uevent.
pub fn uevent_value<'a>(key: &str, text: &'a str) -> Option<&'a str> {
    let line = |line: &'a str| line.strip_suffix('\r').unwrap_or(line);
    text.split('\n').map(line).find_map(|line| line.split_once('=').filter(|(name, _)| *name == key)).map(|(_, v)| v)
}

/// Reads the numbers of the devices that a device is linked to.
pub fn links(text: &str) -> Option<Vec<u64>> {
    text.replace(',', " ").split(' ').filter(|part| !part.is_empty()).map(number).collect()
}

/// Reads the logical core size from the last valid line of the node's file.
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

/// Reads the major and minor number of a released version of the Neuron driver.
pub fn driver_version(text: &str) -> Option<(u64, u64)> {
    let parts: Vec<&str> = text.split('.').collect();
    Some((number(parts[0])?, number(parts.get(1)?)?))
}

/// The names of the vendors' libraries up to `.so`, in the order in which nearfab lists them.
pub const LIBRARIES: [&str; 5] = ["libibverbs", "libefa", "libfabric", "libnrt", "libnccom"];

/// Returns the library of a file name, which may contain the hash of a Python wheel.
pub fn library(file: &str) -> Option<&'static str> {
    let (begin, end) = file.split_once(".so")?;
    let (name, hash) = begin.split_once('-').map_or((begin, None), |(name, hash)| (name, Some(hash)));
    let hashed = hash.is_none_or(|hash| hash.len() > 5 && has_form(hash, &"x".repeat(hash.len())));
    LIBRARIES.into_iter().find(|library| *library == name && hashed && (end.is_empty() || end.starts_with('.')))
}

/// Reads the folders in a configuration file of the dynamic loader.
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

/// Reads the limit of locked memory in bytes. The inner `None` means that there is no limit.
pub fn locked_memory(limits: &str) -> Option<Option<u64>> {
    let begin = "Max locked memory";
    let line = limits.split('\n').find(|line| line.starts_with(begin))?;
    match line[begin.len()..].split_whitespace().next()? {
        "unlimited" => Some(None),
        bytes => number_up_to(u64::MAX, bytes).map(Some),
    }
}

/// Returns true if a process may exceed the limit of locked memory: bit 14 of its capabilities is set, which is bit 2 of the
/// fourth digit from the right.
pub fn may_lock(status: &str) -> Option<bool> {
    let line = status.split('\n').find(|line| line.starts_with("CapEff:"))?;
    let mask = line["CapEff:".len()..].trim();
    hex_up_to(16, mask)?;
    let digit = mask.chars().rev().nth(3).and_then(|digit| digit.to_digit(16)).unwrap_or(0);
    Some(digit & 4 != 0)
}

/// Returns the variables of an environment that nearfab records. The first of several variables with the same name counts, as
/// for `getenv`.
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

/// Returns the libraries that a process has mapped, each file once, in the form that nearfab records.
pub fn mapped(maps: &str) -> Vec<Value> {
    let mut files = Vec::new();
    let mut all = Vec::new();
    for line in maps.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        if fields.len() < 6 {
            continue;
        }
        let file = (fields[3], fields[4]);
        let shown = fields[5..].join(" ");
        let shown = shown.trim_start_matches(' ');
        let path = shown.strip_suffix(" (deleted)").unwrap_or(shown);
        let name = path.chars().rev().take_while(|c| *c != '/').collect::<Vec<_>>();
        let library = library(&name.into_iter().rev().collect::<String>());
        if let Some(library) = library.filter(|_| path.starts_with('/') && !files.contains(&file)) {
            files.push(file);
            all.push(json!({"library": library, "path": path, "deleted": path != shown}));
        }
    }
    all
}

/// Reads the numbers at the beginning of a version, at least two, and returns the form that nearfab writes.
pub fn version(text: &str) -> Option<String> {
    let digits: String = text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let mut parts: Vec<&str> = digits.split('.').collect();
    while parts.last() == Some(&"") {
        parts.pop();
    }
    let numbers: Vec<String> = parts.iter().map(|part| Some(number(part)?.to_string())).collect::<Option<_>>()?;
    (numbers.len() > 1).then(|| numbers.join("."))
}
