@group(0) @binding(FIRST_BINDING) var<storage, read> first: array<u32>;

fn first_position(index: u32) -> u32 {
    return first[params.first_start + index];
}
