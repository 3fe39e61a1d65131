//! What may be done with which kind of device memory: one table.

use core::fmt;

/// The kind of memory that a pgmap is made of, by the names that Linux gives them.
///
/// This is the whole table; [`MemoryType::rules`] is the same table as code.
///
/// | type | what it is | pin | migrate | map | share | copy on write | after `folio_free` |
/// |---|---|---|---|---|---|---|---|
/// | `DevicePrivate` | device memory that a CPU cannot address | no | yes | yes | no | no | released |
/// | `DeviceCoherent` | device memory that a CPU addresses coherently | no | yes | yes | no | yes | released |
/// | `FsDax` | persistent memory under a file system | yes | no | yes | yes | yes | kept: the file system says when |
/// | `Generic` | memory that a driver hands to user space as it is | yes | no | yes | no | no | released |
/// | `PciP2pdma` | a PCI BAR that other devices reach | yes | no | yes | no | no | released |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MemoryType {
    /// Device memory that a CPU cannot address.
    #[default]
    DevicePrivate,
    /// Device memory that a CPU addresses coherently.
    DeviceCoherent,
    /// Persistent memory under a file system.
    FsDax,
    /// Memory that a driver hands to user space as it is.
    Generic,
    /// A PCI BAR that other devices reach.
    PciP2pdma,
}

/// What one may want to do with a folio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Keep it where it is for as long as one likes.
    Pin,
    /// Move its contents elsewhere and free it.
    Migrate,
    /// Enter it into a page table, be it as an entry at which a CPU faults.
    Map,
    /// Let several files have it.
    Share,
    /// Copy it when it is written.
    CopyOnWrite,
}

/// What becomes of pages whose folio has left service, if the driver leaves that to the memory type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FreeRule {
    /// They are idle: anyone may allocate them.
    Release,
    /// They stay with the driver as a block.
    Keep,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The memory type.
    pub memory_type: MemoryType,
    /// See [`Capability::Pin`].
    pub pin: bool,
    /// See [`Capability::Migrate`].
    pub migrate: bool,
    /// See [`Capability::Map`].
    pub map: bool,
    /// See [`Capability::Share`].
    pub share: bool,
    /// See [`Capability::CopyOnWrite`].
    pub copy_on_write: bool,
    /// What becomes of the pages after `folio_free`.
    pub free: FreeRule,
}

/// A line of the table, its columns as above.
const fn line(memory_type: MemoryType, [pin, migrate, map, share, copy_on_write]: [bool; 5], free: FreeRule) -> Rules {
    Rules { memory_type, pin, migrate, map, share, copy_on_write, free }
}

const YES: bool = true;
const NO: bool = false;

impl MemoryType {
    /// The table.
    #[rustfmt::skip]
    pub const TABLE: [Rules; 5] = [
        line(MemoryType::DevicePrivate,  [NO,  YES, YES, NO,  NO ], FreeRule::Release),
        line(MemoryType::DeviceCoherent, [NO,  YES, YES, NO,  YES], FreeRule::Release),
        line(MemoryType::FsDax,          [YES, NO,  YES, YES, YES], FreeRule::Keep),
        line(MemoryType::Generic,        [YES, NO,  YES, NO,  NO ], FreeRule::Release),
        line(MemoryType::PciP2pdma,      [YES, NO,  YES, NO,  NO ], FreeRule::Release),
    ];

    /// Its line of the table.
    pub const fn rules(self) -> Rules {
        match self {
            MemoryType::DevicePrivate => MemoryType::TABLE[0],
            MemoryType::DeviceCoherent => MemoryType::TABLE[1],
            MemoryType::FsDax => MemoryType::TABLE[2],
            MemoryType::Generic => MemoryType::TABLE[3],
            MemoryType::PciP2pdma => MemoryType::TABLE[4],
        }
    }

    /// Whether memory of this type allows it.
    pub const fn allows(self, capability: Capability) -> bool {
        let rules = self.rules();
        match capability {
            Capability::Pin => rules.pin,
            Capability::Migrate => rules.migrate,
            Capability::Map => rules.map,
            Capability::Share => rules.share,
            Capability::CopyOnWrite => rules.copy_on_write,
        }
    }
}

impl fmt::Display for MemoryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::format;

    #[test]
    fn req_30_the_table_in_the_docs_is_the_table_in_the_code() {
        let say = |yes| if yes { "yes" } else { "no" };
        let source = include_str!("memory_type.rs");
        for rules in MemoryType::TABLE {
            assert_eq!(rules.memory_type.rules(), rules);
            let columns = [rules.pin, rules.migrate, rules.map, rules.share, rules.copy_on_write].map(say).join(" | ");
            let free = if rules.free == FreeRule::Release { "released |" } else { "kept:" };
            let name = format!("/// | `{}` |", rules.memory_type);
            let row = source.lines().find(|row| row.starts_with(&name)).unwrap();
            assert!(row.contains(&format!("| {columns} | {free}")), "{row}");
        }
        assert!(!MemoryType::DevicePrivate.allows(Capability::Pin) && MemoryType::FsDax.allows(Capability::Share));
    }
}
