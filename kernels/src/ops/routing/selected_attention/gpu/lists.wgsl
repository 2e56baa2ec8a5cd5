// Copies all lists into one buffer, for devices with few bindings, and clamps their ranges: ranges of queries, ranges
// of keys, members of queries, members of keys, times at which keys leave, positions of first queries.

struct Params {
    // Words of the ranges of one side, of the members of queries, and of the members of keys.
    ranges: u32,
    entries: u32,
    key_entries: u32,
    // Places per head, of queries and of keys.
    most: u32,
    key_most: u32,
    // Number of sequences with an offset.
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
        // The end is clamped to the number of places, and the start to the end.
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

// Returns the offset of the times.
fn times() -> u32 {
    return 2 * params.ranges + params.entries + select(0u, params.key_entries, SEPARATE);
}
