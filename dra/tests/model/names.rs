//! Names of devices: each unit has one name, and each name is of one unit.

use nearfab::HostDevice;
use nearfab::instances::GroupSize;
use nearfab_dra::model::unit::Unit;

#[test]
fn a_name_is_parsed_back_to_its_unit() {
    let device = HostDevice(15);
    let units = [
        (Unit::Neuron(device), "neuron-15"),
        (Unit::Half { device, half: 1 }, "neuron-15-half-1"),
        (Unit::Core { device, lnc: 2, core: 3 }, "neuron-15-lnc2-core-3"),
        (Unit::Group { size: GroupSize::Sixteen, number: 0 }, "group16-0"),
        (Unit::Node, "node"),
        (Unit::Efa("0000:c9:00.0".parse().unwrap()), "efa-0000-c9-00-0"),
        (Unit::EfaSet("0001:c9:1f.7".parse().unwrap()), "efa-set-0001-c9-1f-7"),
    ];
    for (unit, name) in units {
        assert_eq!(unit.to_string(), name);
        assert_eq!(name.parse(), Ok(unit));
    }
}

#[test]
fn other_names_are_of_no_unit() {
    let names = [
        "",
        "neuron",
        "neuron-",
        "neuron-05",
        "neuron-+5",
        "neuron-5-",
        "neuron-5-half-2",
        "neuron-5-half-00",
        "neuron-5-lnc0-core-0",
        "neuron-5-lnc2",
        "neuron-5-core-3",
        "neuron-99999999999",
        "group1-0",
        "group3-0",
        "group4",
        "group4-01",
        "nodes",
        "efa-",
        "efa-0000-c9-00",
        "efa-0000-c9-00-0-0",
        "efa-0000-C9-00-0",
        "efa-set-0000-c9-00-9",
        "gpu-0",
    ];
    for name in names {
        assert!(name.parse::<Unit>().is_err(), "{name}");
    }
}
