// `pairs.wgsl` for software drivers and gates with one decay per
// token. A workgroup owns the tokens of a chunk and a value head:
//
//     products   lane (x, y) computes L and P of keys 8 x to 8 x + 7 and tokens 8 y to 8 y + 7, if they exist
//     solve      a lane owns vectors lane, lane + GROUP of the right sides of W and U; for eight tokens at a time it
//                subtracts the contributions of all earlier ones: `X[i] = B[i] - sum L[i, j] X[j]`
//
// Loops over the tiles have eight iterations and are unrolled; otherwise the compiler would keep the tiles in memory.

const C4 = C / 4;
const STEP = VALUE_HEADS * ROW;

// Eight tokens of two vectors each.
alias Tile = array<vec4f, 16>;

// [C, C]: blocks of L on and below the diagonal.
var<workgroup> lower: array<f32, C * C>;

// Adds the products of vector `i` of the rows `at` with four channels of eight keys.
fn add(tile: ptr<function, Tile>, at: ptr<function, array<u32, 8>>, i: u32, near: mat4x4f, far: mat4x4f) {
    for (var r = 0u; r < 8; r += 1) {
        let x = vectors[(*at)[r] + i];
        (*tile)[2 * r] = add4((*tile)[2 * r], x, near);
        (*tile)[2 * r + 1] = add4((*tile)[2 * r + 1], x, far);
    }
}

// Subtracts the contribution of token `j` of the tile from the later tokens.
fn eliminate(tile: ptr<function, Tile>, diagonal: u32, j: u32) {
    for (var r = 0u; r < 8; r += 1) {
        if r > j {
            let l = lower[diagonal + r * C + j];
            (*tile)[2 * r] -= l * (*tile)[2 * j];
            (*tile)[2 * r + 1] -= l * (*tile)[2 * j + 1];
        }
    }
}

fn products(row: u32, tokens: u32, x: u32, y: u32) {
    let rows = row * ROW;
    var below: Tile;
    var weight: Tile;
    var own: array<u32, 8>;
    var keys: array<u32, 8>;
    for (var r = 0u; r < 8; r += 1) {
        below[2 * r] = vec4f();
        below[2 * r + 1] = vec4f();
        weight[2 * r] = vec4f();
        weight[2 * r + 1] = vec4f();
        own[r] = rows + min(8 * y + r, tokens - 1) * STEP;
        keys[r] = rows + min(8 * x + r, tokens - 1) * STEP + KEY;
    }
    for (var i = 0u; i < params.key_vectors; i += 1) {
        let near = transpose(mat4x4f(
            vectors[keys[0] + i],
            vectors[keys[1] + i],
            vectors[keys[2] + i],
            vectors[keys[3] + i],
        ));
        let far = transpose(mat4x4f(
            vectors[keys[4] + i],
            vectors[keys[5] + i],
            vectors[keys[6] + i],
            vectors[keys[7] + i],
        ));
        add(&below, &own, READ + i, near, far);
        add(&weight, &own, i, near, far);
    }
    for (var r = 0u; r < 8; r += 1) {
        let i = 8 * y + r;
        for (var h = 0u; h < 2; h += 1) {
            let first = 8 * x + 4 * h;
            let js = first + vec4u(0, 1, 2, 3);
            let between = between_of(rows, i, js, tokens);
            let of_row = select(vec4f(), below[2 * r + h] * between, js < vec4u(i));
            for (var c = 0u; c < 4; c += 1) {
                lower[i * C + first + c] = of_row[c];
            }
            if i < tokens {
                let of_query = select(vec4f(), weight[2 * r + h] * between, js <= vec4u(i));
                weights[(row + i * VALUE_HEADS) * C4 + 2 * x + h] = of_query;
            }
        }
    }
}

// Computes W and U for vectors `column` and `column + GROUP`. A
// column past the last repeats the last one and is not stored.
fn solve(rows: u32, tokens: u32, column: u32) {
    var places: array<u32, 2>;
    for (var w = 0u; w < 2; w += 1) {
        let own = min(column + GROUP * w, K4 + V4 - 1);
        places[w] = rows + own + select(WRITTEN - K4, READ, own < K4);
    }
    for (var block = 0u; block < tokens; block += 8) {
        var tile: Tile;
        for (var r = 0u; r < 8; r += 1) {
            let at = min(block + r, tokens - 1) * STEP;
            let since = since_of(rows + at, 0);
            for (var w = 0u; w < 2; w += 1) {
                tile[2 * r + w] = select(vec4f(1), since, column + GROUP * w < K4) * vectors[places[w] + at];
            }
        }
        for (var j = 0u; j < block; j += 1) {
            let near = vectors[places[0] + j * STEP];
            let far = vectors[places[1] + j * STEP];
            for (var r = 0u; r < 8; r += 1) {
                let l = lower[(block + r) * C + j];
                tile[2 * r] -= l * near;
                tile[2 * r + 1] -= l * far;
            }
        }
        let diagonal = block * C + block;
        eliminate(&tile, diagonal, 0);
        eliminate(&tile, diagonal, 1);
        eliminate(&tile, diagonal, 2);
        eliminate(&tile, diagonal, 3);
        eliminate(&tile, diagonal, 4);
        eliminate(&tile, diagonal, 5);
        eliminate(&tile, diagonal, 6);
        for (var r = 0u; r < 8; r += 1) {
            for (var w = 0u; w < 2; w += 1) {
                if block + r < tokens && column + GROUP * w < K4 + V4 {
                    vectors[places[w] + (block + r) * STEP] = tile[2 * r + w];
                }
            }
        }
    }
}

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = id.y * ids.x + id.x;
    if unit >= params.units {
        return;
    }
    let head = unit % VALUE_HEADS;
    let chunk = chunk_of(unit / VALUE_HEADS);
    if chunk.tokens == 0 {
        return;
    }
    let row = row_of(chunk.n, chunk.first, head);
    let x = lane % (C / 8);
    let y = lane / (C / 8);
    if x <= y && 8 * y < chunk.tokens {
        products(row, chunk.tokens, x, y);
    }
    workgroupBarrier();
    let rows = row * ROW;
    for (var column = lane; column < K4 + V4; column += 2 * GROUP) {
        solve(rows, chunk.tokens, column);
    }
}
