// Converts vectors to fixed point, one workgroup per vector. The code follows score.rs line by line.

struct Params {
    rows: u32,
    tokens: u32,
    heads: u32,
    x_start: u32,
    lengths_start: u32,
    // dim^3 eps as mantissa 2^power; exponents are i32.
    mantissa: u32,
    power: u32,
    least_exponent: u32,
}

// Bits of f32, because infinity and NaN have to be detected before a conversion to a number.
@group(0) @binding(0) var<storage, read> x: array<u32>;
// [rows, D]: high and low digit, 16 bits each.
@group(0) @binding(1) var<storage, read_write> digits: array<u32>;
// [rows]: exponent, divisor, shift.
@group(0) @binding(2) var<storage, read_write> forms: array<vec4u>;
@group(1) @binding(0) var<uniform> params: Params;

const PER = (D + GROUP - 1) / GROUP;

var<workgroup> largest: atomic<u32>;
var<workgroup> total: atomic<i32>;
var<workgroup> squares: array<atomic<i32>, 2>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = id.y * ids.x + id.x;
    if row >= params.rows {
        return;
    }
    if lane == 0 {
        atomicStore(&largest, 0u);
        atomicStore(&total, 0);
        atomicStore(&squares[0], 0);
        atomicStore(&squares[1], 0);
    }
    workgroupBarrier();
    // Rows are ordered [B, H, T] in the scratch and [B, T, H] in x.
    let unit = row / params.tokens;
    let inside = row % params.tokens < length_of(unit / params.heads);
    let there = (unit / params.heads * params.tokens + row % params.tokens) * params.heads + unit % params.heads;
    var bits: array<u32, PER>;
    var top = 0u;
    for (var i = 0u; i < PER; i += 1) {
        let d = lane + i * GROUP;
        bits[i] = 0u;
        if d < D && inside {
            bits[i] = x[params.x_start + there * D + d];
        }
        top = max(top, field(bits[i]));
    }
    atomicMax(&largest, top);
    workgroupBarrier();
    top = atomicLoad(&largest);
    workgroupBarrier();
    var exponent = i32(top) - 148;
    var value: array<i32, PER>;
    for (var i = 0u; i < PER; i += 1) {
        let own = field(bits[i]);
        let size = select(((bits[i] & 0x7fffffu) | 0x800000u) >> min(2u + top - own, 31u), 0u, own == 0u);
        value[i] = select(i32(size), -i32(size), bits[i] >= 0x80000000u);
    }
    if LAYER {
        var sum = 0;
        for (var i = 0u; i < PER; i += 1) {
            sum += value[i];
        }
        atomicAdd(&total, sum);
        if lane == 0 {
            atomicStore(&largest, 0u);
        }
        workgroupBarrier();
        sum = atomicLoad(&total);
        var size = 0u;
        for (var i = 0u; i < PER; i += 1) {
            value[i] = select(0, value[i] * i32(D) - sum, lane + i * GROUP < D);
            size = max(size, u32(abs(value[i])));
        }
        atomicMax(&largest, size);
        workgroupBarrier();
        let drop = max(10 - i32(countLeadingZeros(atomicLoad(&largest))), bitcast<i32>(params.least_exponent) - exponent);
        exponent += drop;
        for (var i = 0u; i < PER; i += 1) {
            let size = u32(abs(value[i]));
            let moved = i32(select(size << u32(clamp(-drop, 0, 31)), size >> u32(clamp(drop, 0, 31)), drop >= 0));
            value[i] = moved * sign(value[i]);
        }
    }
    var high = 0;
    var low = 0;
    for (var i = 0u; i < PER; i += 1) {
        let h = (value[i] + 1024) >> 11u;
        let l = value[i] - (h << 11u);
        high += h * h;
        low += 2 * h * l;
        let d = lane + i * GROUP;
        if d < D {
            digits[row * D + d] = (u32(h) << 16u) | (u32(l) & 0xffffu);
        }
    }
    atomicAdd(&squares[0], high);
    atomicAdd(&squares[1], low);
    workgroupBarrier();
    if lane > 0 {
        return;
    }
    var square = u32(max(atomicLoad(&squares[0]) + ((atomicLoad(&squares[1]) + 1024) >> 11u), 0));
    if LAYER {
        let power = bitcast<i32>(params.power) - 22 - 2 * exponent;
        square += select(params.mantissa >> u32(clamp(-power, 0, 31)), params.mantissa << u32(clamp(power, 0, 31)), power >= 0);
    }
    var divisor = 0u;
    var shift = 0u;
    if DIVIDES && square > 0 {
        shift = countLeadingZeros(square) / 2;
        divisor = root(square << (2 * shift));
    }
    forms[row] = vec4u(u32(exponent), divisor, shift, 0);
}

// Returns the biased exponent of a number, 0 for numbers that count as 0.
fn field(bits: u32) -> u32 {
    let own = (bits >> 23u) & 255u;
    return select(own, 0u, own == 255u);
}

// Returns 2^15 sqrt(n), for n of at least 2^30.
fn root(n: u32) -> u32 {
    var root = 0u;
    for (var bit = 0x8000u; bit > 0; bit /= 2) {
        let more = root | bit;
        root = select(root, more, more * more <= n);
    }
    let rest = n - root * root;
    return (root << 15u) + (rest << 14u) / root;
}
