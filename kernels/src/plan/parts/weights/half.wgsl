// Rows of 16-bit floats whose length is a multiple of 8: a unit of
// eight weights takes sixteen bytes. `halves` decodes two weights.

@group(0) @binding(1) var<storage, read> weight: array<vec4u>;

const FAR = 4u;

struct Eight {
    near: vec4f,
    far: vec4f,
}

fn unit_start(unit: u32) -> u32 {
    return 8 * unit;
}

fn weight4(row: u32, k: u32) -> vec4f {
    let words = weight[params.weight_start + row * (params.width / 8) + k / 8];
    let two = select(words.xy, words.zw, (k & 4) != 0);
    return vec4f(halves(two.x), halves(two.y));
}

fn weight_row(row: u32) -> u32 {
    return params.weight_start + row * (params.width / 8);
}

fn weight8_at(place: u32, unit: u32) -> Eight {
    let words = weight[place + unit];
    return Eight(vec4f(halves(words.x), halves(words.y)), vec4f(halves(words.z), halves(words.w)));
}

fn weight8(row: u32, unit: u32) -> Eight {
    return weight8_at(weight_row(row), unit);
}
