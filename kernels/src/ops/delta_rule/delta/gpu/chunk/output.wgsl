// Outputs of a chunk, `exp(G) Q S + P new`: the queries read the state before the chunk and the updates within it. A
// workgroup owns the tokens of a chunk and 4 COLUMNS columns of a value head. Lane (x, b) owns PER tokens from PER b
// on and vectors x, x + LANES, ..

const C4 = C / 4;
const LANES = GROUP / (C / PER);
const COLUMNS = LANES * WIDE;
const STEP = VALUE_HEADS * ROW;

struct Params {
    units: u32,
    tokens: u32,
    first: u32,
    count: u32,
    sequences: u32,
    // Number of states.
    slots: u32,
    out_start: u32,
    cu_start: u32,
    slots_start: u32,
    key_vectors: u32,
}

@group(0) @binding(0) var<storage, read> vectors: array<vec4f>;
@group(0) @binding(1) var<storage, read> weights: array<vec4f>;
@group(0) @binding(2) var<storage, read> before: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;


@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = id.y * ids.x + id.x;
    let place = unit / BLOCKS;
    let head = place % VALUE_HEADS;
    if unit >= params.units {
        return;
    }
    let chunk = chunk_of(place / VALUE_HEADS);
    let b = lane / LANES;
    if PER * b >= chunk.tokens {
        return;
    }
    let row = row_of(chunk.n, chunk.first, head);
    var columns: array<u32, WIDE>;
    for (var w = 0u; w < WIDE; w += 1) {
        columns[w] = unit % BLOCKS * COLUMNS + lane % LANES + LANES * w;
    }
    var tokens: array<u32, PER>;
    for (var r = 0u; r < PER; r += 1) {
        tokens[r] = row + min(PER * b + r, chunk.tokens - 1) * VALUE_HEADS;
    }
    var sums: array<vec4f, PER * WIDE>;
    for (var i = 0u; i < PER * WIDE; i += 1) {
        sums[i] = vec4f();
    }
    if slot_of(chunk.n) < params.slots {
        for (var i = 0u; i < params.key_vectors; i += 1) {
            var m: array<mat4x4f, WIDE>;
            for (var w = 0u; w < WIDE; w += 1) {
                let at = (place * K4 + i) * 4 * V4 + min(columns[w], V4 - 1);
                m[w] = mat4x4f(before[at], before[at + V4], before[at + 2 * V4], before[at + 3 * V4]);
            }
            for (var r = 0u; r < PER; r += 1) {
                let x = vectors[tokens[r] * ROW + i];
                for (var w = 0u; w < WIDE; w += 1) {
                    sums[PER * w + r] = add4(sums[PER * w + r], x, m[w]);
                }
            }
        }
        for (var r = 0u; r < PER; r += 1) {
            let since = since_row(tokens[r] * ROW);
            for (var w = 0u; w < WIDE; w += 1) {
                sums[PER * w + r] *= since;
            }
        }
        for (var j = 0u; j < PER / 4 * (b + 1); j += 1) {
            var of_row: array<u32, 4>;
            for (var r = 0u; r < 4; r += 1) {
                of_row[r] = (row + min(4 * j + r, chunk.tokens - 1) * VALUE_HEADS) * ROW + WRITTEN;
            }
            var m: array<mat4x4f, WIDE>;
            for (var w = 0u; w < WIDE; w += 1) {
                let column = min(columns[w], V4 - 1);
                m[w] = mat4x4f(
                    vectors[of_row[0] + column],
                    vectors[of_row[1] + column],
                    vectors[of_row[2] + column],
                    vectors[of_row[3] + column],
                );
            }
            for (var r = 0u; r < PER; r += 1) {
                let x = weights[tokens[r] * C4 + j];
                for (var w = 0u; w < WIDE; w += 1) {
                    sums[PER * w + r] = add4(sums[PER * w + r], x, m[w]);
                }
            }
        }
    }
    let first = batch_of(chunk.n) * params.tokens + params.first + chunk.first + PER * b;
    for (var w = 0u; w < WIDE; w += 1) {
        for (var r = 0u; r < PER; r += 1) {
            for (var c = 0u; c < 4; c += 1) {
                // The last row of a token has its output.
                let last = (first + r) % EACH == EACH - 1;
                if last && PER * b + r < chunk.tokens && 4 * columns[w] + c < V {
                    let at = ((first + r) / EACH * VALUE_HEADS + head) * V + 4 * columns[w] + c;
                    out[params.out_start + at] = sums[PER * w + r][c];
                }
            }
        }
    }
}
