// d N[q[i]]: f32 d, then the nibbles. A block is a whole number of words.

const LEN = 32u;
const BLOCK = 10u;

// The numbers of the codes, which are quantiles of a normal distribution.
const FIRST = vec4f(-1.0, -0.6961928, -0.52507305, -0.3949175);
const SECOND = vec4f(-0.28444138, -0.18477343, -0.091050036, 0.0);
const THIRD = vec4f(0.0795803, 0.1609302, 0.2461123, 0.33791524);
const FOURTH = vec4f(0.44070983, 0.562617, 0.72295684, 1.0);

fn number(code: u32) -> f32 {
    let second = (code & 4) != 0;
    let four = select(select(FIRST, SECOND, second), select(THIRD, FOURTH, second), (code & 8) != 0);
    let two = select(four.xy, four.zw, (code & 2) != 0);
    return select(two.x, two.y, (code & 1) != 0);
}

fn numbers(codes: vec4u) -> vec4f {
    return vec4f(number(codes.x), number(codes.y), number(codes.z), number(codes.w));
}

fn scale_at(block: u32, j: u32) -> f32 {
    return bitcast<f32>(weight[params.weight_start + block / 2]);
}

fn codes_at(block: u32, word: u32) -> u32 {
    return weight[params.weight_start + block / 2 + 1 + word];
}
