@group(0) @binding(2) var<storage, read> k_members: array<u32>;
@group(0) @binding(3) var<storage, read> k_ranges: array<u32>;

fn key_member(index: u32) -> u32 {
    return k_members[params.k_members_start + index];
}

fn key_range(index: u32) -> u32 {
    let at = params.k_ranges_start + index / 2 * 2;
    return min(k_ranges[at + index % 2], min(k_ranges[at + 1], params.key_most));
}
