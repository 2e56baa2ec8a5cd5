// All lists in one buffer, for devices that bind few, with ranges inside of their places: the ranges of queries, those of
// keys, the members of queries, those of keys, when keys leave, and where queries begin.

struct Params {
    // Words of each range of a side, of members of queries and of keys.
    ranges: u32,
    entries: u32,
    key_entries: u32,
    // Places of a head.
    most: u32,
    key_most: u32,
    // Sequences with an offset.
    batch: u32,
    members_start: u32,
    ranges_start: u32,
    k_members_start: u32,
    k_ranges_start: u32,
    until_start: u32,
    first_start: u32,
    lse_start: u32,
}

@group(0) @binding(0) var<storage, read> members: array<u32>;
@group(0) @binding(1) var<storage, read> ranges: array<u32>;
@group(0) @binding(LISTS_BINDING) var<storage, read_write> lists: array<u32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index < params.entries {
        clear(index);
        lists[2 * params.ranges + index] = members[params.members_start + index];
    }
    if index < params.ranges {
        // The end is held inside of the places, the begin in front of it.
        let at = params.ranges_start + index / 2 * 2;
        lists[index] = min(ranges[at + index % 2], min(ranges[at + 1], params.most));
        lists[params.ranges + index] = key_range(index);
    }
    if SEPARATE && index < params.key_entries {
        lists[2 * params.ranges + params.entries + index] = key_member(index);
    }
    if EXPIRES && index < params.key_entries {
        lists[times() + index] = time(index);
    }
    if OFFSET && index < params.batch {
        lists[times() + select(0u, params.key_entries, EXPIRES) + index] = first_position(index);
    }
}

// Where times begin.
fn times() -> u32 {
    return 2 * params.ranges + params.entries + select(0u, params.key_entries, SEPARATE);
}
