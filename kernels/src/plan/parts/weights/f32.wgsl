// Rows of f32, a multiple of 8 long: `row` counts in the binding, `k` is a multiple of 4, `unit` counts 8 weights.
// Every weight format defines `weight4`, `weight8`, `unit_start` and FAR, and reads `params.width` (weights of a row) and
// `params.weight_start` (words of the bound element before row 0). `weight8_at` is `weight8` of a row whose place,
// `weight_row`, is known: loops over units compute it once.

@group(0) @binding(1) var<storage, read> weight: array<vec4f>;

// The second four of a unit are FAR behind the first four.
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
