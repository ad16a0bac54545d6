//! Container images with a few files of this machine: OCI archives of one layer.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// A file of an image. Paths are relative to the root of the image.
pub(crate) enum Entry<'a> {
    /// A static program, copied from this machine.
    Program(&'a str, &'a Path),
    /// A symbolic link and where it points.
    Link(&'a str, &'a str),
}

/// Writes the archive of an image that runs its first program.
///
/// # Errors
/// If a program cannot be read, or the archive cannot be written.
pub(crate) fn write(archive: &Path, name: &str, entries: &[Entry]) -> Result<()> {
    let layer = layer(entries)?;
    let entrypoint = entries.iter().find_map(|entry| match entry {
        Entry::Program(path, _) => Some(format!("/{path}")),
        Entry::Link(..) => None,
    });
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": { "Entrypoint": [entrypoint], "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    })
    .to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    })
    .to_string();
    let mut image = descriptor("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
    image["annotations"] = json!({ "io.containerd.image.name": name });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [image],
    })
    .to_string();

    let file = File::create(archive).with_context(|| archive.display().to_string())?;
    let mut tar = Builder::new(file);
    append(&mut tar, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut tar, "index.json", 0o644, index.as_bytes())?;
    for blob in [layer.as_slice(), config.as_bytes(), manifest.as_bytes()] {
        let path = format!("blobs/{}", digest(blob).replace(':', "/"));
        append(&mut tar, &path, 0o644, blob)?;
    }
    tar.into_inner()?;
    Ok(())
}

fn layer(entries: &[Entry]) -> Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for entry in entries {
        match entry {
            Entry::Program(path, source) => {
                let bytes = fs::read(source).with_context(|| source.display().to_string())?;
                append(&mut tar, path, 0o755, &bytes)?;
            }
            Entry::Link(path, target) => {
                let mut header = Header::new_gnu();
                header.set_entry_type(EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                tar.append_link(&mut header, path, target)?;
            }
        }
    }
    Ok(tar.into_inner()?)
}

fn append<W: std::io::Write>(tar: &mut Builder<W>, path: &str, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, path, bytes)
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() })
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Returns this machine's architecture by its name in Go and in the image format.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
