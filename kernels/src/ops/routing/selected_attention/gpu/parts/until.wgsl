@group(0) @binding(UNTIL_BINDING) var<storage, read> until: array<u32>;

fn time(index: u32) -> u32 {
    return until[params.until_start + index];
}
