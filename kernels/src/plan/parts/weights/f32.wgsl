// f32 rows whose length is a multiple of 8. `row` counts from the start of the binding, `k` is a multiple of 4, `unit`
// counts groups of 8 weights.
// Every weight format defines `weight4`, `weight8`, `unit_start` and FAR, and reads `params.width` (weights per row)
// and `params.weight_start` (words of the bound element before row 0). `weight8_at` is `weight8` for a row offset
// already computed by `weight_row`; loops over units compute that offset once.

@group(0) @binding(1) var<storage, read> weight: array<vec4f>;

// Distance, in weights, from the first four weights of a unit to its second four.
const FAR = 4u;

struct Eight {
    near: vec4f,
    far: vec4f,
}

fn unit_start(unit: u32) -> u32 {
    return 8 * unit;
}

fn weight4(row: u32, k: u32) -> vec4f {
    return weight[params.weight_start + row * (params.width / 4) + k / 4];
}

fn weight_row(row: u32) -> u32 {
    return params.weight_start + row * (params.width / 4);
}

fn weight8_at(place: u32, unit: u32) -> Eight {
    let at = place + 2 * unit;
    return Eight(weight[at], weight[at + 1]);
}

fn weight8(row: u32, unit: u32) -> Eight {
    return weight8_at(weight_row(row), unit);
}
