// y[t, n] for many tokens. A workgroup of 64 owns TOKENS x 64
// outputs and walks K in steps of 16, two units of weights.
//
// Each step is copied in memory order: each lane decodes one unit of two weight rows and loads a vec4 of x for every
// 16 tokens. The product reads vectors of four k. Lane (column, row) owns tokens row + ROWS t and outputs
// column + COLUMNS c, and PER + 4 QUADS reads feed 16 PER QUADS multiply-adds:
//
//     TOKENS    lanes     per lane    multiply-adds per read
//     64        8 x 8     8 x 8       16
//     32        8 x 8     4 x 8       10.7
//     16        16 x 4    4 x 4       8
//
// The vectors of a weight row are permuted by exclusive-or, so that eight lanes read from all banks; those of x are
// broadcast to many lanes. Rows past an edge repeat the last row and are not written.
// Workgroup memory: 16 (TOKENS + 64) f32. Weights are read once for every TOKENS tokens, x once for every 64 outputs.

const ROWS = 64 / COLUMNS;
const PER = TOKENS / ROWS;
const QUADS = 16 / COLUMNS;
// Vectors of a row per step.
const STEP = 4u;
const LOADS = TOKENS / 16;

var<workgroup> x_tile: array<vec4f, TOKENS * STEP>;
var<workgroup> w_tile: array<vec4f, 64 * STEP>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = tile_at(group.y * groups.x + group.x, TOKENS);
    if !tile.here {
        return;
    }
    // This lane loads unit `half` of weight rows lane / 2 and
    // lane / 2 + 32, and vector lane % 4 of tokens lane / 4 + 16 i.
    let half = lane % 2;
    let upper_place = weight_place(tile, tile.row0 + lane / 2);
    let lower_place = weight_place(tile, tile.row0 + lane / 2 + 32);
    let swap = lane / 4 % 4;
    let w_to = lane / 2 * STEP;
    var x_places: array<u32, LOADS>;
    for (var i = 0u; i < LOADS; i += 1) {
        x_places[i] = x_place(tile, tile.token0 + lane / 4 + 16 * i);
    }
    // Column and row of this lane in the product.
    let column = lane % COLUMNS;
    let row = lane / COLUMNS;
    var sums: array<vec4f, PER * QUADS>;
    for (var i = 0u; i < PER * QUADS; i += 1) {
        sums[i] = vec4f();
    }
    let units = (params.width + 7) / 8;
    for (var unit0 = 0u; unit0 < units; unit0 += 2) {
        // Barrier: other lanes may still be reading the previous step.
        workgroupBarrier();
        var upper: Eight;
        var lower: Eight;
        if WHOLE || unit0 + half < units {
            upper = weight8_at(upper_place, unit0 + half);
            lower = weight8_at(lower_place, unit0 + half);
        }
        w_tile[w_to + ((2 * half) ^ swap)] = upper.near;
        w_tile[w_to + ((2 * half + 1) ^ swap)] = upper.far;
        w_tile[w_to + 32 * STEP + ((2 * half) ^ swap)] = lower.near;
        w_tile[w_to + 32 * STEP + ((2 * half + 1) ^ swap)] = lower.far;
        let k = unit_start(unit0 + lane / 2 % 2) + lane % 2 * FAR;
        for (var i = 0u; i < LOADS; i += 1) {
            var four: vec4f;
            if WHOLE || k < params.width {
                four = x4_at(x_places[i], k);
            }
            x_tile[lane + 64 * i] = four;
        }
        workgroupBarrier();
        for (var i = 0u; i < STEP; i += 1) {
            var w: array<mat4x4f, QUADS>;
            for (var c = 0u; c < QUADS; c += 1) {
                w[c] = outputs((column + 4 * COLUMNS * c) * STEP + (i ^ (column / 2 % 4)));
            }
            for (var t = 0u; t < PER; t += 1) {
                let x = x_tile[(row + ROWS * t) * STEP + i];
                for (var c = 0u; c < QUADS; c += 1) {
                    let s = QUADS * t + c;
                    sums[s] = x.w * w[c][3] + (x.z * w[c][2] + (x.y * w[c][1] + (x.x * w[c][0] + sums[s])));
                }
            }
        }
    }
    for (var t = 0u; t < PER; t += 1) {
        let token = tile.token0 + row + ROWS * t;
        for (var c = 0u; c < 4 * QUADS; c += 1) {
            let n = tile.row0 + column + COLUMNS * c;
            if token < tile.tokens && n < tile.rows {
                put(tile, token, n, sums[QUADS * t + c / 4][c % 4]);
            }
        }
    }
}

// Returns one vector of four weight rows, COLUMNS apart: column k holds element k of each.
fn outputs(at: u32) -> mat4x4f {
    return transpose(mat4x4f(
        w_tile[at],
        w_tile[at + COLUMNS * STEP],
        w_tile[at + 2 * COLUMNS * STEP],
        w_tile[at + 3 * COLUMNS * STEP],
    ));
}
