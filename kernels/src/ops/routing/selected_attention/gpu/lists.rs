//! Lists in the layout that passes read: one buffer of ranges, members and times.

use super::{GROUP, LISTS, Planner};
use crate::error::Result;
use crate::part;
use crate::plan::Access;
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Pass, PassBuilder};
use alloc::vec;

impl Planner<'_> {
    /// Returns the words of each section: the ranges of one side, members
    /// of queries, members of keys if separate, `until`, `first`.
    fn list_words(&self) -> [u64; 5] {
        let units = u64::from(self.units());
        let key_places = units * u64::from(self.spec.key_entries());
        let of_keys = |there: bool| if there { key_places } else { 0 };
        let ranges = 2 * units * u64::from(self.spec.clusters);
        let first = if self.spec.offset { u64::from(self.spec.batch) } else { 0 };
        let [members, until] = [self.spec.separate(), self.spec.expires].map(of_keys);
        [ranges, units * u64::from(self.spec.entries), members, until, first]
    }

    pub(crate) fn list_bytes(&self) -> u64 {
        let [ranges, rest @ ..] = self.list_words();
        4 * (2 * ranges + rest.iter().sum::<u64>())
    }

    /// Returns the offsets of the members of queries, the members of keys, `until` and `first` in the lists. An
    /// offset overflows only if the buffer exceeds every binding, which is rejected there.
    pub(crate) fn list_starts(&self) -> [u32; 4] {
        let [ranges, members, key_members, times, _] = self.list_words();
        let until = 2 * ranges + members + key_members;
        [2 * ranges, if self.spec.separate() { 2 * ranges + members } else { 2 * ranges }, until, until + times]
            .map(|n| n as u32)
    }

    /// Plans the pass that copies the lists to scratch. With `forward`
    /// it also sets the lse of every place to that of no keys.
    pub(crate) fn lists(&self, forward: bool, bytes: u64) -> Result<Pass> {
        let spec = self.spec;
        let mut parts = vec![
            part!("plan/parts/each.wgsl"),
            part!("ops/routing/selected_attention/gpu/lists.wgsl"),
            if spec.separate() {
                part!("ops/routing/selected_attention/gpu/parts/separate_lists.wgsl")
            } else {
                part!("ops/routing/selected_attention/gpu/parts/shared_lists.wgsl")
            },
            if spec.expires {
                part!("ops/routing/selected_attention/gpu/parts/until.wgsl")
            } else {
                part!("ops/routing/selected_attention/gpu/parts/no_until.wgsl")
            },
            if spec.offset {
                part!("ops/routing/selected_attention/gpu/parts/first.wgsl")
            } else {
                part!("ops/routing/selected_attention/gpu/parts/no_first.wgsl")
            },
        ];
        parts.push(if forward {
            part!("ops/routing/selected_attention/gpu/parts/clear_lse.wgsl")
        } else {
            part!("ops/routing/selected_attention/gpu/parts/keep_lse.wgsl")
        });
        let (mut binding, mut consts) = (if spec.separate() { 4 } else { 2 }, vec![("GROUP", Const::U32(GROUP))]);
        consts.push(("SEPARATE", Const::Bool(spec.separate())));
        consts.push(("EXPIRES", Const::Bool(spec.expires)));
        if spec.expires {
            consts.push(("UNTIL_BINDING", Const::U32(binding)));
            binding += 1;
        }
        consts.push(("OFFSET", Const::Bool(spec.offset)));
        if spec.offset {
            consts.push(("FIRST_BINDING", Const::U32(binding)));
            binding += 1;
        }
        consts.push(("LISTS_BINDING", Const::U32(binding)));
        if forward {
            consts.push(("LSE_BINDING", Const::U32(binding + 1)));
        }
        let shader = Shader {
            name: "selected_attention.lists",
            parts,
            consts,
            features: Features::default(),
            workgroup_bytes: 0,
        };
        let mut pass = PassBuilder::new(self.args, shader).arg("members").arg("ranges");
        if spec.separate() {
            pass = self.bind(pass, "k_members").arg("k_ranges");
        }
        if spec.expires {
            pass = self.bind(pass, "until");
        }
        if spec.offset {
            pass = pass.arg("first");
        }
        pass = pass.scratch("lists", LISTS, bytes, Access::Write);
        let [ranges, members, ..] = self.list_words();
        let key_places = u64::from(self.units()) * u64::from(spec.key_entries());
        if forward {
            pass = self.output(pass, "lse", 4 * members);
        }
        let groups = ranges.max(members).max(key_places).max(spec.batch.into()).div_ceil(GROUP.into());
        pass = pass
            .u32("ranges", ranges as u32)
            .u32("entries", members as u32)
            .u32("key_entries", key_places as u32)
            .u32("most", spec.entries)
            // Without keys every list is empty.
            .u32("key_most", if spec.key_tokens() > 0 { spec.key_entries() } else { 0 })
            .u32("batch", if spec.offset { spec.batch } else { 0 })
            .start("members_start", "members", 4)
            .start("ranges_start", "ranges", 4);
        for (name, arg) in [
            ("k_members_start", "k_members"),
            ("k_ranges_start", "k_ranges"),
            ("until_start", "until"),
            ("first_start", "first"),
        ] {
            pass = self.start(pass, name, arg, 4);
        }
        let pass = match forward && spec.save {
            true => pass.start("lse_start", "lse", 4),
            false => pass.u32("lse_start", 0),
        };
        pass.dispatch(self.op, self.caps, self.caps.grid(self.op, groups)?)
    }
}
