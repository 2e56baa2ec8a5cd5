// Scores of 32 tokens and 32 centroids per workgroup; lane (x, y) computes tokens
// x, x + 8, .. and centroids y, y + 8, .. The code follows score.rs line by line.
// A score is stored as a key: its bits, mapped to an integer with the same order.

struct Params {
    units: u32,
    tokens: u32,
    heads: u32,
    clusters: u32,
    factor: f32,
    scores_start: u32,
    // Ranges of tokens and centroids of the pass.
    first_token: u32,
    some_tokens: u32,
    first_cluster: u32,
    some_clusters: u32,
}

@group(0) @binding(0) var<storage, read> digits: array<u32>;
@group(0) @binding(1) var<storage, read> forms: array<vec4u>;
@group(0) @binding(2) var<storage, read> centroid_digits: array<u32>;
@group(0) @binding(3) var<storage, read> centroid_forms: array<vec4u>;
// [units, C, T] of the pass.
@group(0) @binding(4) var<storage, read_write> keys: array<u32>;
@group(1) @binding(0) var<uniform> params: Params;

const SIDE = 32u;
const CHUNK = 16u;
const STRIDE = CHUNK + 1;

var<workgroup> tile: array<u32, 2 * SIDE * STRIDE>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let wide = (params.some_tokens + SIDE - 1) / SIDE;
    let tall = (params.some_clusters + SIDE - 1) / SIDE;
    let index = id.y * ids.x + id.x;
    if index >= wide * tall * params.units {
        return;
    }
    let token0 = params.first_token + index % wide * SIDE;
    let cluster0 = params.first_cluster + index / wide % tall * SIDE;
    let unit = index / wide / tall;
    let token_rows = unit * params.tokens;
    let centroid_rows = unit % params.heads * params.clusters;
    let x = lane % 8;
    let y = lane / 8;
    var high: array<vec4i, 4>;
    var low: array<vec4i, 4>;
    for (var r = 0u; r < 4; r += 1) {
        high[r] = vec4i();
        low[r] = vec4i();
    }
    for (var chunk = 0u; chunk < D; chunk += CHUNK) {
        workgroupBarrier();
        for (var i = lane; i < SIDE * CHUNK; i += 64) {
            let d = chunk + i % CHUNK;
            let row = i / CHUNK;
            let token = token_rows + min(token0 + row, params.tokens - 1);
            let centroid = centroid_rows + min(cluster0 + row, params.clusters - 1);
            tile[row * STRIDE + i % CHUNK] = select(0u, digits[token * D + min(d, D - 1)], d < D);
            tile[(SIDE + row) * STRIDE + i % CHUNK] = select(0u, centroid_digits[centroid * D + min(d, D - 1)], d < D);
        }
        workgroupBarrier();
        for (var d = 0u; d < CHUNK; d += 1) {
            let at = (SIDE + y) * STRIDE + d;
            let c = vec4u(tile[at], tile[at + 8 * STRIDE], tile[at + 16 * STRIDE], tile[at + 24 * STRIDE]);
            let ch = vec4i(c) >> vec4u(16);
            let cl = vec4i(c << vec4u(16)) >> vec4u(16);
            for (var r = 0u; r < 4; r += 1) {
                let t = tile[(x + 8 * r) * STRIDE + d];
                let th = i32(t) >> 16u;
                let tl = i32(t << 16u) >> 16u;
                high[r] += th * ch;
                low[r] += th * cl + tl * ch;
            }
        }
    }
    for (var r = 0u; r < 4; r += 1) {
        let token = token0 + x + 8 * r;
        let dots = high[r] + ((low[r] + vec4i(1024)) >> vec4u(11));
        for (var i = 0u; i < 4; i += 1) {
            let c = cluster0 + y + 8 * i;
            let inside = vec2u(token - params.first_token, c - params.first_cluster);
            if inside.x < params.some_tokens && inside.y < params.some_clusters {
                let bits = score(dots[i], forms[token_rows + token], bitcast<i32>(centroid_forms[centroid_rows + c].x));
                keys[(unit * params.some_clusters + inside.y) * params.some_tokens + inside.x] =
                    select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
                store_score((token_rows + token) * params.clusters + c, params.factor * bitcast<f32>(bits));
            }
        }
    }
}

// Returns the bits of the score.
fn score(dot: i32, form: vec4u, exponent: i32) -> u32 {
    let size = u32(abs(dot));
    if form.y == 0 {
        return float(dot < 0, size, bitcast<i32>(form.x) + exponent + 22);
    }
    // 28 binary digits after the point, one by one.
    let all = size << form.z;
    var quotient = all / form.y;
    var rest = all % form.y;
    for (var i = 0u; i < 28; i += 1) {
        rest *= 2;
        let one = rest >= form.y;
        quotient = 2 * quotient + select(0u, 1u, one);
        rest -= select(0u, form.y, one);
    }
    return float(dot < 0, quotient, exponent - 2);
}

// Returns the bits of size 2^exponent, truncated to 24 significant bits.
fn float(negative: bool, size: u32, exponent: i32) -> u32 {
    let lead = 31 - i32(countLeadingZeros(size));
    let field = exponent + lead + 127;
    if size == 0 || field <= 0 {
        return 0;
    }
    let mantissa = select(size << u32(clamp(23 - lead, 0, 31)), size >> u32(clamp(lead - 23, 0, 31)), lead > 23);
    let bits = select((u32(field) << 23u) | (mantissa & 0x7fffffu), 0x7f7fffffu, field >= 255);
    return bits | select(0u, 0x80000000u, negative);
}
