//! The check of the interfaces that libfabric finds, with answers of `fi_info`.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nearfab::Host;
use nearfab::doctor::{FiInfo, Input, examine};
use nearfab::instances::InstanceTable;

/// Returns the output of `fi_info -p efa -t FI_EP_RDM` of libfabric 2.
fn output(names: &[&str]) -> String {
    let of = |name: &&str| {
        ["efa-direct", "efa"].map(|fabric| {
            format!(
                "provider: efa\n    fabric: {fabric}\n    domain: {name}-rdm\n    version: 201.0\n    type: FI_EP_RDM\n    \
                 protocol: FI_PROTO_EFA\n"
            )
        })
    };
    names.iter().flat_map(of).collect()
}

fn ended(code: i32, stdout: &str, stderr: &str) -> FiInfo {
    let (stdout, stderr) = (stdout.to_owned(), stderr.to_owned());
    FiInfo::Ended { program: "/usr/bin/fi_info".into(), status: ExitStatus::from_raw(code), stdout, stderr }
}

/// Returns the titles of the findings about libfabric.
fn titles(host: &Host, fi_info: &FiInfo) -> Vec<String> {
    let mut input = Input::new(host);
    input.fi_info = Some(fi_info);
    let is_about_it = |id: &str| id.starts_with("fi-info-") || id.starts_with("libfabric-finds-");
    let found = examine(&input).findings;
    found.iter().filter(|finding| is_about_it(finding.id)).map(|finding| finding.title()).collect()
}

#[test]
fn interfaces_that_libfabric_does_not_list_are_found() {
    let tree = tempfile::tempdir().unwrap();
    nearfab_emu::write_tree(InstanceTable::find("trn1.32xlarge").unwrap(), tree.path()).unwrap();
    let host = Host::from_root(tree.path()).unwrap();
    let names: Vec<&str> = host.efa_interfaces().iter().filter_map(|efa| efa.rdma.as_deref()).collect();
    assert_eq!(titles(&host, &ended(0, &output(&names), "")), [""; 0]);
    assert_eq!(
        titles(&host, &ended(0, &output(&names[1..]), "")),
        [format!("PROBLEM libfabric-finds-fewer: 0000:10:19.0 ({})", names[0])]
    );
    let none = ended(61 << 8, "", "fi_getinfo: -61\n");
    assert_eq!(titles(&host, &none), ["PROBLEM libfabric-finds-none: /usr/bin/fi_info"]);
    assert_eq!(titles(&host, &ended(6, "", "FI_EFA_IFACE is empty")), ["PROBLEM fi-info-failed: /usr/bin/fi_info"]);
    assert_eq!(titles(&host, &FiInfo::NotInstalled), ["NOTE fi-info-missing"]);

    let empty = Host::from_root(tempfile::tempdir().unwrap().path()).unwrap();
    assert_eq!(titles(&empty, &none), [""; 0], "a host without EFA interfaces");
}

#[test]
fn output_of_the_installed_fi_info_is_parsed() {
    let host = Host::discover().unwrap();
    match super::fi_info::run() {
        FiInfo::NotInstalled => nearfab_emu::skipped("fi_info", "it is not installed"),
        fi_info => {
            let text = titles(&host, &fi_info).join("\n");
            assert!(host.efa_interfaces().is_empty() != text.contains("libfabric-finds"), "{text}");
        }
    }
}
