struct Params {
    // `rows`: outputs of this piece of the weight. `row0`: outputs before it.
    rows: u32,
    row0: u32,
    // Rows of the weight between a gate and its gated row.
    up: u32,
    width: u32,
    x_stride: u32,
    y_stride: u32,
    eps: f32,
    x_start: u32,
    weight_start: u32,
    norm_start: u32,
    bias_start: u32,
    y_start: u32,
}

@group(1) @binding(0) var<uniform> params: Params;
