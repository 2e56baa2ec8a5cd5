// d e4m3(q[i]): f32 d, then 32 floats of eight bits. A block is a whole number of words.

const LEN = 32u;
const BLOCK = 18u;
const FAR = 4u;

fn unit_start(unit: u32) -> u32 {
    return 8 * unit;
}

// Numbers with an exponent of 0 have no leading 1, and are twice as far from 2^-7 as it makes them.
fn floats(word: u32) -> vec4f {
    let bytes = (vec4u(word) >> vec4u(0, 8, 16, 24)) & vec4u(255);
    let magnitude = bytes & vec4u(127);
    let normal = bitcast<vec4f>((magnitude << vec4u(20)) + vec4u(120u << 23));
    let value = select(normal, 2.0 * (normal - 0.0078125), magnitude < vec4u(8));
    return select(value, -value, bytes > vec4u(127));
}

fn weight4(row: u32, k: u32) -> vec4f {
    let at = params.weight_start + block_at(row, k) / 2;
    return bitcast<f32>(weight[at]) * floats(weight[at + 1 + k % 32 / 4]);
}

fn weight8_at(place: u32, unit: u32) -> Eight {
    let at = params.weight_start + (place + unit / 4 * BLOCK) / 2;
    let d = bitcast<f32>(weight[at]);
    let word = at + 1 + 2 * (unit % 4);
    return Eight(d * floats(weight[word]), d * floats(weight[word + 1]));
}
