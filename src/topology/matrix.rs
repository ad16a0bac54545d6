//! Builds the matrix of proximities between all devices of a host.

use serde::{Serialize, Serializer};

use super::{Evidence, Member, MemberKind, Proximity};
use crate::host::Host;
use crate::types::{Bdf, CpuList};

/// The proximity of each two devices of a host: accelerators and EFA interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Matrix {
    /// The devices of the rows. The columns have the same devices in the same order.
    pub members: Vec<MatrixMember>,
    /// The rows, one for each member. In JSON, each cell is its [`Proximity::code`].
    #[serde(serialize_with = "codes")]
    pub cells: Vec<Vec<Proximity>>,
    /// The vendor's pairing, which takes precedence over the proximities.
    pub pairs: Vec<Pair>,
}

/// A device in a [`Matrix`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MatrixMember {
    /// A short name in this matrix. `N5` is the Neuron device 5. `E5`, `G5` and `F5` are the EFA interface, the GPU and
    /// the Neuron function without a known device number at position 5 of their kind.
    pub id: String,
    /// The kind of the device.
    pub kind: MemberKind,
    /// The name of the device on the host: `neuron5` or a PCI address.
    pub name: String,
    /// The PCI address, if it is known.
    pub address: Option<Bdf>,
    /// The NUMA node, if it is known.
    pub numa: Option<u32>,
    /// The CPUs near the device.
    pub cpus: CpuList,
}

/// A Neuron device and the EFA interface that the vendor pairs with the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Pair {
    /// The `id` of the Neuron device.
    pub device: String,
    /// The `id` of the EFA interface.
    pub efa: String,
}

impl Matrix {
    /// Returns true if the vendor pairs the two members, in either order.
    #[must_use]
    pub fn paired(&self, a: &MatrixMember, b: &MatrixMember) -> bool {
        let is =
            |pair: &Pair, device: &MatrixMember, efa: &MatrixMember| pair.device == device.id && pair.efa == efa.id;
        self.pairs.iter().any(|pair| is(pair, a, b) || is(pair, b, a))
    }
}

impl Host {
    /// Returns the matrix of this host's accelerators and EFA interfaces.
    ///
    /// ```
    /// use nearfab::Host;
    /// let matrix = Host::from_instance("trn1.32xlarge")?.matrix();
    /// assert_eq!((matrix.members.len(), matrix.pairs.len()), (24, 16));
    /// assert_eq!(matrix.cells[4][5].code(), "PHB", "neuron4 and neuron5 are below one root");
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    #[must_use]
    pub fn matrix(&self) -> Matrix {
        let letters = self.letters();
        let all: Vec<Member<'_>> = letters.iter().map(|&(_, member)| member).collect();
        let member = |(id, member): &(String, Member<'_>)| {
            let function = member.function();
            MatrixMember {
                id: id.clone(),
                kind: member.kind(),
                name: member.to_string(),
                address: member.address(),
                numa: function.and_then(|function| function.numa),
                cpus: function.map(|function| function.cpus.clone()).unwrap_or_default(),
            }
        };
        let members: Vec<MatrixMember> = letters.iter().map(member).collect();
        let cell = |(i, a): (usize, &Member<'_>), (j, b): (usize, &Member<'_>)| match i == j {
            true => Proximity::SameFunction,
            false => Proximity::between(a.function(), b.function()),
        };
        let row = |a: (usize, &Member<'_>)| all.iter().enumerate().map(|b| cell(a, b)).collect();
        let cells = all.iter().enumerate().map(row).collect();
        let pairs = self.pairs(&all, &members);
        Matrix { members, cells, pairs }
    }

    /// Returns the devices of the matrix with their short names.
    pub(crate) fn letters(&self) -> Vec<(String, Member<'_>)> {
        let (mut functions, mut gpus, mut interfaces) = (0.., 0.., 0..);
        let numbered = |letter: char, numbers: &mut std::ops::RangeFrom<u32>| {
            format!("{letter}{}", numbers.next().unwrap_or_default())
        };
        let members = self.members().filter(|member| !matches!(member, Member::OtherRdma(_)));
        let named = members.map(|member| {
            let id = match member {
                Member::Neuron(device) => format!("N{}", device.index.0),
                Member::Unnumbered(_) | Member::Driverless(_) => numbered('F', &mut functions),
                Member::Gpu(_) => numbered('G', &mut gpus),
                Member::Efa(_) | Member::OtherRdma(_) => numbered('E', &mut interfaces),
            };
            (id, member)
        });
        named.collect()
    }

    fn pairs(&self, all: &[Member<'_>], members: &[MatrixMember]) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for (member, row) in all.iter().zip(members) {
            let Ok(list) = self.near_member(*member) else { continue };
            for near in list.nearest_by_rank().filter(|near| matches!(near.evidence, Evidence::Table { .. })) {
                let efa = members.iter().find(|to| to.kind == MemberKind::Efa && to.address == Some(near.target));
                pairs.extend(efa.map(|efa| Pair { device: row.id.clone(), efa: efa.id.clone() }));
            }
        }
        pairs
    }
}

fn codes<S: Serializer>(cells: &[Vec<Proximity>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(cells.iter().map(|row| row.iter().map(|cell| cell.code()).collect::<Vec<_>>()))
}
