@group(0) @binding(LENGTHS_BINDING) var<storage, read> lengths: array<u32>;

fn lengths_at(i: u32) -> u32 {
    return lengths[params.lengths_start + i];
}
