struct Params {
    units: u32,
    heads: u32,
    tokens: u32,
    clusters: u32,
    entries: u32,
    window: u32,
    members_start: u32,
    ranges_start: u32,
    until_start: u32,
    lengths_start: u32,
}

@group(1) @binding(0) var<uniform> params: Params;
