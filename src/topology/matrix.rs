//! How near everything is to everything, as a matrix.

use serde::{Serialize, Serializer};

use super::{Evidence, Member, MemberKind, Proximity};
use crate::host::Host;
use crate::types::{Bdf, CpuList};

/// Accelerators and EFA interfaces of a host, and the proximity of each two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// What the rows are, and the columns.
    pub members: Vec<MatrixMember>,
    /// A row for each member; in JSON by [`Proximity::code`].
    #[serde(serialize_with = "codes")]
    pub cells: Vec<Vec<Proximity>>,
    /// The vendor's pairing, which stands above the proximities.
    pub pairs: Vec<Pair>,
}

/// A row, and a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MatrixMember {
    /// A short name in this matrix: `N5` is the Neuron device 5, `E5` the EFA interface at position 5, as `G5` of GPUs and
    /// `F5` of Neuron functions without a number.
    pub id: String,
    /// What it is.
    pub kind: MemberKind,
    /// Its name on the host: `neuron5` or its address.
    pub name: String,
    /// Its PCI address, where known.
    pub address: Option<Bdf>,
    /// Its NUMA node.
    pub numa: Option<u32>,
    /// The CPUs near it.
    pub cpus: CpuList,
}

/// A device and the interface that the vendor pairs with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The `id` of the Neuron device.
    pub device: String,
    /// The `id` of the EFA interface.
    pub efa: String,
}

impl Matrix {
    /// Whether the vendor pairs the two members, in whichever order.
    #[must_use]
    pub fn paired(&self, a: &MatrixMember, b: &MatrixMember) -> bool {
        let is =
            |pair: &Pair, device: &MatrixMember, efa: &MatrixMember| pair.device == device.id && pair.efa == efa.id;
        self.pairs.iter().any(|pair| is(pair, a, b) || is(pair, b, a))
    }
}

impl Host {
    /// The matrix of this host's accelerators and EFA interfaces.
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
        let all: Vec<Member<'_>> = self.members().filter(|member| !matches!(member, Member::OtherRdma(_))).collect();
        let mut functions = 0..;
        let mut gpus = 0..;
        let mut interfaces = 0..;
        let numbered = |letter: char, numbers: &mut std::ops::RangeFrom<u32>| {
            format!("{letter}{}", numbers.next().unwrap_or_default())
        };
        let member = |member: &Member<'_>| {
            let function = member.function();
            MatrixMember {
                id: match member {
                    Member::Neuron(device) => format!("N{}", device.index.0),
                    Member::Unnumbered(_) | Member::Driverless(_) => numbered('F', &mut functions),
                    Member::Gpu(_) => numbered('G', &mut gpus),
                    Member::Efa(_) | Member::OtherRdma(_) => numbered('E', &mut interfaces),
                },
                kind: member.kind(),
                name: member.to_string(),
                address: member.address(),
                numa: function.and_then(|function| function.numa),
                cpus: function.map(|function| function.cpus.clone()).unwrap_or_default(),
            }
        };
        let members: Vec<MatrixMember> = all.iter().map(member).collect();
        let cell = |(i, a): (usize, &Member<'_>), (j, b): (usize, &Member<'_>)| match i == j {
            true => Proximity::SameFunction,
            false => Proximity::between(a.function(), b.function()),
        };
        let row = |a: (usize, &Member<'_>)| all.iter().enumerate().map(|b| cell(a, b)).collect();
        let cells = all.iter().enumerate().map(row).collect();
        let pairs = self.pairs(&all, &members);
        Matrix { members, cells, pairs }
    }

    fn pairs(&self, all: &[Member<'_>], members: &[MatrixMember]) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for (member, row) in all.iter().zip(members) {
            let Ok(list) = self.near_member(*member) else { continue };
            for near in list.nearest().filter(|near| matches!(near.evidence, Evidence::Table { .. })) {
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
