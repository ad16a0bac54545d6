//! Plans over cores that the driver reports as held.

use super::{FakeNode, ProbeOptions, probe_of, probe_of_with};
use crate::host::Host;
use crate::plan::{PlanOptions, plan};

#[test]
fn refusal_of_held_cores_names_attached_processes() {
    let host = Host::from_instance("trn2.48xlarge").unwrap();
    // The driver reports cores 0, 5 and 7 of each device as held. The logical cores nc4 to nc7 of neuron1 have the
    // physical cores 2+3, 0+1, 4+5 and 6+7, so nc5, nc6 and nc7 are held.
    let probe = probe_of(&host, |_| FakeNode::default());
    let plan = plan(&host, &PlanOptions::ranks(16)).unwrap();
    let text = plan.refuse_held(&probe).unwrap_err().to_string();
    assert!(text.contains("nc5, nc6, nc7 of neuron1 (rank 1);"), "{text}");
    let text = plan.ranks[1].refuse_held(&probe).unwrap_err().to_string();
    assert_eq!(
        text,
        "no plan: other processes hold cores: nc5, nc6, nc7 of neuron1 (rank 1); end these processes, or plan over other cores"
    );

    let with_processes = probe_of_with(&host, ProbeOptions::default().with_processes(), |_| FakeNode::default());
    let text = plan.ranks[1].refuse_held(&with_processes).unwrap_err().to_string();
    assert!(text.contains("nc5, nc6, nc7 of neuron1 (rank 1; process 41 is attached to neuron1)"), "{text}");

    let free = probe_of(&host, |_| FakeNode { available: Some(1), ..FakeNode::default() });
    plan.refuse_held(&free).unwrap();
    // A core whose state the driver did not report counts as free.
    plan.refuse_held(&probe_of(&host, |_| FakeNode::failing("CRWL_NC_RANGE_MARK_EXT0", -22))).unwrap();
}
