//! The instance type that libnrt detects.

use nearfab_sys::nrt::nrt_instance_info_t;

use crate::live::context::c_values::{numbers, text};

/// The instance type that libnrt detects.
#[doc(alias = "nrt_instance_info_t")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NeuronInstance {
    /// The family.
    pub family: NeuronFamily,
    /// The size.
    pub size: NeuronSize,
    /// The architecture's name. `None`: libnrt is too old to report it.
    pub architecture: Option<String>,
    /// The device's revision. `None`: libnrt is too old to report it.
    pub revision: Option<String>,
}

impl NeuronInstance {
    pub(super) fn of(raw: &nrt_instance_info_t) -> Self {
        let non_empty = |field| Some(text(field)).filter(|text| !text.is_empty());
        Self {
            family: raw.family.into(),
            size: raw.size.into(),
            architecture: non_empty(&raw.arch_name),
            revision: non_empty(&raw.device_revision),
        }
    }
}

numbers! {
    /// A family of instances, by libnrt's numbers.
    pub enum NeuronFamily: u32;

    /// inf1.
    Inf1 = 1,
    /// trn1.
    Trn1 = 2,
    /// trn1n.
    Trn1n = 3,
    /// inf2.
    Inf2 = 4,
    /// trn2.
    Trn2 = 5,
    /// trn2n.
    Trn2n = 6,
    /// inf2e.
    Inf2e = 7,
    /// trn2p.
    Trn2p = 8,
    /// trn2u.
    Trn2u = 9,
    /// trn2e.
    Trn2e = 10,
    /// trn2eu.
    Trn2eu = 11,
    /// trn2-ac.
    Trn2Ac = 12,
    /// trn2u-ac.
    Trn2uAc = 13,
    /// trn3.
    Trn3 = 14,
    /// trn3pd98.
    Trn3Pds98 = 15,
}

numbers! {
    /// A size of instances, by libnrt's numbers. libnrt reports an unknown size as the number after its last size. This
    /// number grows with the versions of libnrt, so it has no name here.
    pub enum NeuronSize: u32;

    /// xlarge.
    Xlarge = 0,
    /// 2xlarge.
    Xlarge2 = 1,
    /// 4xlarge.
    Xlarge4 = 2,
    /// 6xlarge.
    Xlarge6 = 3,
    /// 8xlarge.
    Xlarge8 = 4,
    /// 24xlarge.
    Xlarge24 = 5,
    /// 32xlarge.
    Xlarge32 = 6,
    /// 48xlarge.
    Xlarge48 = 7,
    /// 3xlarge. An older libnrt reports an unknown size with this number.
    Xlarge3 = 8,
}
