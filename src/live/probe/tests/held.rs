//! Plans over cores that the driver reports as held.

use super::{ProbeOptions, Recorded, probe_of, probe_of_with};
use crate::host::Host;
use crate::plan::{PlanOptions, plan};

#[test]
fn held_cores_are_refused_with_who_is_attached() {
    let host = Host::from_instance("trn2.48xlarge").unwrap();
    // Cores 0, 5 and 7 of each device; of neuron1, whose cores count 2 3 0 1 4 5 6 7, that is nc5, nc6 and nc7.
    let probe = probe_of(&host, |_| Recorded::default());
    let plan = plan(&host, &PlanOptions::ranks(16)).unwrap();
    let text = plan.refuse_held(&probe).unwrap_err().to_string();
    assert!(text.contains("nc5, nc6, nc7 (neuron1, of rank 1);"), "{text}");
    let text = plan.ranks[1].refuse_held(&probe).unwrap_err().to_string();
    assert_eq!(text, "no plan: cores are held already: nc5, nc6, nc7 (neuron1, of rank 1)");

    let asked = probe_of_with(&host, ProbeOptions::default().with_processes(), |_| Recorded::default());
    let text = plan.ranks[1].refuse_held(&asked).unwrap_err().to_string();
    assert!(text.ends_with("nc5, nc6, nc7 (neuron1, of rank 1), to which process 41 is attached"), "{text}");

    let free = probe_of(&host, |_| {
        let mut free = Recorded::default();
        free.available = Some(1);
        free
    });
    plan.refuse_held(&free).unwrap();
    // What was not answered is not held.
    plan.refuse_held(&probe_of(&host, |_| Recorded::failing("CRWL_NC_RANGE_MARK_EXT0", -22))).unwrap();
}
