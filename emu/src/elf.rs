//! Makes ELF files of shared libraries that have symbol versions, and nothing else.

/// The bytes of the file header, and of a section header.
const HEADER: usize = 64;
const STRTAB: u32 = 3;
const VERDEF: u32 = 0x6fff_fffd;
const VERNEED: u32 = 0x6fff_fffe;

/// Returns an ELF file (64 bit, little endian) that defines symbol versions, and needs versions of other libraries:
/// pairs of a library's soname and the versions. No loader can load the file. `readelf -V` shows the versions.
///
/// ```
/// let file = nearfab_emu::library_file(&["EFA_1.0"], &[("libibverbs.so.1", &["IBVERBS_1.1"])]);
/// assert!(file.starts_with(b"\x7fELF"));
/// ```
#[must_use]
pub fn library_file(defined: &[&str], needed: &[(&str, &[&str])]) -> Vec<u8> {
    let mut strings = vec![0];
    let verdef = definitions(defined, &mut strings);
    let verneed = needs(needed, &mut strings);
    let sections = [(STRTAB, &strings, 0), (VERDEF, &verdef, defined.len()), (VERNEED, &verneed, needed.len())];
    let mut content: Vec<u8> = Vec::new();
    let mut headers = vec![0; HEADER];
    for (kind, bytes, entries) in sections {
        if kind != STRTAB && entries == 0 {
            continue;
        }
        let offset = HEADER + content.len();
        // sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size, sh_link: the strings, sh_info, sh_addralign, sh_entsize.
        put32(&mut headers, &[0, kind]);
        put64(&mut headers, &[0, 0, offset as u64, bytes.len() as u64]);
        put32(&mut headers, &[1, small(entries)]);
        put64(&mut headers, &[1, 0]);
        content.extend(bytes);
    }
    let count = small16(headers.len() / HEADER);
    // A 64-bit file in little endian for Linux: a shared object for x86-64.
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0".to_vec();
    put32(&mut file, &[1]);
    put64(&mut file, &[0, 0, (HEADER + content.len()) as u64]);
    put32(&mut file, &[0]);
    // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx.
    put16(&mut file, &[64, 0, 0, 64, count, 1]);
    file.extend(content);
    file.extend(headers);
    file
}

/// Returns the section of defined versions.
fn definitions(versions: &[&str], strings: &mut Vec<u8>) -> Vec<u8> {
    let mut section = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        let next = if index + 1 == versions.len() { 0 } else { 28 };
        // vd_version, vd_flags, vd_ndx, vd_cnt; vd_hash, vd_aux, vd_next; vda_name, vda_next.
        put16(&mut section, &[1, 0, small16(index + 2), 1]);
        put32(&mut section, &[0, 20, next, add(strings, version), 0]);
    }
    section
}

/// Returns the section of needed versions.
fn needs(libraries: &[(&str, &[&str])], strings: &mut Vec<u8>) -> Vec<u8> {
    let mut section = Vec::new();
    for (index, (library, versions)) in libraries.iter().enumerate() {
        let next = if index + 1 == libraries.len() { 0 } else { 16 + 16 * versions.len() };
        // vn_version, vn_cnt; vn_file, vn_aux, vn_next.
        put16(&mut section, &[1, small16(versions.len())]);
        put32(&mut section, &[add(strings, library), 16, small(next)]);
        for (index, version) in versions.iter().enumerate() {
            let next = if index + 1 == versions.len() { 0 } else { 16 };
            // vna_hash; vna_flags, vna_other; vna_name, vna_next.
            put32(&mut section, &[0]);
            put16(&mut section, &[0, 2]);
            put32(&mut section, &[add(strings, version), next]);
        }
    }
    section
}

/// Adds a string to the string table, and returns its place.
fn add(strings: &mut Vec<u8>, text: &str) -> u32 {
    let place = small(strings.len());
    strings.extend(text.as_bytes());
    strings.push(0);
    place
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("an ELF file of less than 4 GiB")
}

fn small16(number: usize) -> u16 {
    u16::try_from(number).expect("less than 65536 entries")
}

fn put16(bytes: &mut Vec<u8>, values: &[u16]) {
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn put32(bytes: &mut Vec<u8>, values: &[u32]) {
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn put64(bytes: &mut Vec<u8>, values: &[u64]) {
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}
