// y[t, n] for many tokens: a workgroup of 64 owns TILE_TOKENS x 64 outputs and walks K in steps of 16.
//
// A step: each lane loads a block of 4 rows by 4 k of the weights (decoded) and of x into registers, transposes it, and
// stores it k-major, so that the product (in the tile part) reads four tokens or four outputs of one k as a vec4. Four
// neighbouring lanes read 16 neighbouring k of a row. Slots of a k are permuted by exclusive-or with its block, which
// spreads the stores of these four lanes over all banks. Rows behind an edge repeat the last row and are not written.
// Workgroup memory: 16 (TILE_TOKENS + 64) f32. Weights are read once for each TILE_TOKENS tokens.

const X_SLOTS = TILE_TOKENS / 4;
const W_SLOTS = 16u;

var<workgroup> x_tile: array<vec4f, 16 * X_SLOTS>; // [16, TILE_TOKENS]
var<workgroup> w_tile: array<vec4f, 16 * W_SLOTS>; // [16, 64]

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    // Workgroups that follow each other share weights.
    let token_tiles = (params.tokens + TILE_TOKENS - 1) / TILE_TOKENS;
    let index = group.y * groups.x + group.x;
    let token0 = index % token_tiles * TILE_TOKENS;
    let row0 = index / token_tiles * 64;
    if row0 >= params.rows {
        return;
    }
    let block = lane / 4;
    let quad = lane % 4;
    let four = vec4u(4 * block) + vec4u(0, 1, 2, 3);
    let rows = min(row0 + four, vec4u(params.rows - 1));
    let tokens = min(token0 + four, vec4u(params.tokens - 1));
    let w_at = 4 * quad * W_SLOTS + (block ^ (2 * quad));
    let x_at = 4 * quad * X_SLOTS + (block ^ ((2 * quad) % X_SLOTS));
    var sums: Sums;
    for (var k0 = 0u; k0 < params.width; k0 += 16) {
        let k = k0 + 4 * quad;
        var w_block = mat4x4f();
        var x_block = mat4x4f();
        if k < params.width {
            w_block = transpose(mat4x4f(weight4(rows.x, k), weight4(rows.y, k), weight4(rows.z, k), weight4(rows.w, k)));
            if lane < TILE_TOKENS {
                x_block = transpose(mat4x4f(x4(tokens.x, k), x4(tokens.y, k), x4(tokens.z, k), x4(tokens.w, k)));
            }
        }
        // The step before may still be read.
        workgroupBarrier();
        w_tile[w_at] = w_block[0];
        w_tile[w_at + W_SLOTS] = w_block[1];
        w_tile[w_at + 2 * W_SLOTS] = w_block[2];
        w_tile[w_at + 3 * W_SLOTS] = w_block[3];
        if lane < TILE_TOKENS {
            x_tile[x_at] = x_block[0];
            x_tile[x_at + X_SLOTS] = x_block[1];
            x_tile[x_at + 2 * X_SLOTS] = x_block[2];
            x_tile[x_at + 3 * X_SLOTS] = x_block[3];
        }
        workgroupBarrier();
        for (var i = 0u; i < 16; i++) {
            let swap = i / 4 * 2;
            multiply(&sums, i * X_SLOTS, swap % X_SLOTS, i * W_SLOTS, swap, lane);
        }
    }
    write_sums(&sums, token0, row0, lane);
}

fn write4(token: u32, row: u32, values: vec4f) {
    if token >= params.tokens {
        return;
    }
    if row < params.rows {
        write(token, row, values.x);
    }
    if row + 1 < params.rows {
        write(token, row + 1, values.y);
    }
    if row + 2 < params.rows {
        write(token, row + 2, values.z);
    }
    if row + 3 < params.rows {
        write(token, row + 3, values.w);
    }
}
