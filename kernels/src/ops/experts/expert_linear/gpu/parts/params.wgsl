struct Params {
    // Pairs of a token and one of its experts, and how many of them share a row of x.
    pairs: u32,
    share: u32,
    experts: u32,
    // Places of the list of tiles, if there is one.
    tiles: u32,
    outputs: u32,
    // `rows`: rows of this piece of the weight, of all experts. `row0`: rows before it.
    row0: u32,
    rows: u32,
    width: u32,
    x_stride: u32,
    y_stride: u32,
    x_start: u32,
    weight_start: u32,
    ids_start: u32,
    bias_start: u32,
    y_start: u32,
}

@group(1) @binding(0) var<uniform> params: Params;
