//! The device classes and the files of `deploy/`.

use std::fs;
use std::path::Path;

use k8s_openapi::api::resource::v1::DeviceClass;
use nearfab_dra::model::classes;

#[test]
fn the_files_of_deploy_have_the_classes() {
    for (file, classes) in [
        ("deviceclasses.yaml", classes::own()),
        ("extended-resources.yaml", classes::extended_resources()),
        ("aws-deviceclasses.yaml", classes::aws()),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file);
        let text = fs::read_to_string(&path).unwrap();
        let deployed: Vec<DeviceClass> = serde_saphyr::from_multiple(&text).unwrap();
        assert_eq!(deployed, classes, "{file}");
    }
}
