//! The published slices, as files. Claims rely on them, so a change of a file is a change of an interface.
//! `SNAPSHOTS=overwrite cargo test -p nearfab-dra --test model` writes the files anew.

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::resource::v1::ResourceSlice;
use nearfab_dra::model::slices::Pool;

use crate::hosts::{Mode, WITHOUT_TABLE, host};

const TYPES: [&str; 10] = [
    "trn1.32xlarge",
    "trn2.48xlarge",
    "trn2u.48xlarge",
    "inf2.48xlarge",
    "p5.48xlarge",
    "p6-b200.48xlarge",
    "g5.48xlarge",
    "c7gn.16xlarge",
    "m7i.large",
    WITHOUT_TABLE,
];

#[test]
fn slices_are_published_as_agreed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let overwrite = std::env::var_os("SNAPSHOTS").is_some_and(|wish| wish == "overwrite");
    let mut expected: Vec<PathBuf> = Vec::new();
    for instance_type in TYPES {
        let host = host(instance_type);
        for mode in Mode::ALL {
            let slices: Vec<_> = mode.model(&host).pools.iter().flat_map(Pool::slices).collect();
            let path = folder.join(format!("{instance_type}.{}.json", mode.name()));
            let text = text(&slices);
            if overwrite {
                fs::write(&path, &text).unwrap();
            }
            let golden = fs::read_to_string(&path).unwrap_or_default();
            for (published, agreed) in text.lines().zip(golden.lines()) {
                assert_eq!(published, agreed, "{}", path.display());
            }
            assert_eq!(text.lines().count(), golden.lines().count(), "{}", path.display());
            let read_back: Vec<ResourceSlice> = serde_json::from_str(&golden).unwrap();
            assert_eq!(read_back, slices);
            expected.push(path);
        }
    }
    expected.sort();
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files, expected, "each file is of a type and a mode");
}

/// Returns slices as JSON, with a line for each device and each counter set.
fn text(slices: &[ResourceSlice]) -> String {
    let lines = |spec: &mut serde_json::Value, list: &str| {
        let items = spec.as_object_mut().unwrap().remove(list)?;
        let items: Vec<String> = items.as_array().unwrap().iter().map(ToString::to_string).collect();
        Some(format!(",\"{list}\":[\n{}\n]", items.join(",\n")))
    };
    let slices: Vec<String> = slices
        .iter()
        .map(|slice| {
            let mut slice = serde_json::to_value(slice).unwrap();
            let spec = &mut slice["spec"];
            let lists = [lines(spec, "devices"), lines(spec, "sharedCounters")];
            let lists: String = lists.into_iter().flatten().collect();
            // `spec` is the last object of a slice.
            format!("{}{lists}}}}}", slice.to_string().strip_suffix("}}").unwrap())
        })
        .collect();
    format!("[{}]\n", slices.join(",\n"))
}
