// Products between the tokens of a chunk. A workgroup owns the tokens of a chunk and a value head. `G` are the sums of
// log decays, `E` the read keys, `D[i, j] = exp(G[i] - G[j])`; all matrices have one row per token:
//
//     products   lane (x, y) computes L = E K^T * D below the diagonal and P = Q K^T * D on and below it, for keys
//                4 x to 4 x + 3 and every Y-th row
//     solve      A = (I + L)^-1, one column per lane; L and A are stored as 4 x 4 blocks on and below the diagonal
//     apply      in place W = A (exp(G) E), U = A written and, with per-channel decays, Q = exp(G) Q,
//                K = exp(G[last] - G) K
//
// Source: Yang et al. (2406.06484), 3.2. No exponent is above 0.

const C4 = C / 4;
const X = C4;
const Y = GROUP / X;
// Rows per lane in the products.
const PER = C / Y;
const STRIDE = CHUNK | 1;
// Lanes per four rows in `apply`.
const LANES = GROUP / C4;
const COLUMNS = LANES * WIDE;

// Rows of keys, read keys, queries and, with per-channel decays, sums; later [C, COLUMNS].
var<workgroup> tile: array<vec4f, TILE>;
// Blocks of L, each four rows.
var<workgroup> lower: array<vec4f, 4 * BLOCKS>;
// Blocks of A, each four columns.
var<workgroup> inverse: array<vec4f, 4 * BLOCKS>;

// Returns the index of the first block in a row of blocks.
fn blocks_before(b: u32) -> u32 {
    return b * (b + 1) / 2;
}

// Returns the token at a place of the tile. A lane's four keys are X places apart.
fn token_at(place: u32) -> u32 {
    return place % X * 4 + place / X;
}


fn solve(lane: u32) {
    let own = lane / 4;
    for (var b = own; b < C4; b += 1) {
        var sum = select(vec4f(), vec4f(vec4u(lane % 4) == vec4u(0, 1, 2, 3)), b == own);
        var at = 4 * (blocks_before(b) + own);
        for (var j = own; j < b; j += 1) {
            let known = inverse[4 * (blocks_before(j) + own) + lane % 4];
            sum -= vec4f(dot(lower[at], known), dot(lower[at + 1], known), dot(lower[at + 2], known), dot(lower[at + 3], known));
            at += 4;
        }
        sum.y -= lower[at + 1].x * sum.x;
        sum.z -= dot(lower[at + 2].xy, sum.xy);
        sum.w -= dot(lower[at + 3].xyz, sum.xyz);
        inverse[4 * (blocks_before(b) + own) + lane % 4] = sum;
    }
}

// Multiplies the tile by A and stores the result in columns [first, first + COLUMNS) of `part` of the rows.
fn apply(rows: u32, part: u32, first: u32, end: u32, tokens: u32, lane: u32) {
    let b = lane / LANES;
    let x = lane % LANES;
    var sums: array<vec4f, 4 * WIDE>;
    for (var i = 0u; i < 4 * WIDE; i += 1) {
        sums[i] = vec4f();
    }
    let at = 4 * blocks_before(b);
    for (var j = 0u; j < 4 * (b + 1); j += 1) {
        let a = inverse[at + j];
        for (var w = 0u; w < WIDE; w += 1) {
            let row = tile[j * COLUMNS + x + LANES * w];
            sums[4 * w] += a.x * row;
            sums[4 * w + 1] += a.y * row;
            sums[4 * w + 2] += a.z * row;
            sums[4 * w + 3] += a.w * row;
        }
    }
    for (var w = 0u; w < WIDE; w += 1) {
        let column = first + x + LANES * w;
        for (var r = 0u; r < 4; r += 1) {
            if 4 * b + r < tokens && column < end {
                vectors[rows + (4 * b + r) * VALUE_HEADS * ROW + part + column] = sums[4 * w + r];
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
    let rows = row * ROW;
    let x = lane % X;
    let y = lane / X;
    var sources = array(KEY, READ, 0u, SUM);
    var below: array<vec4f, PER>;
    var weight: array<vec4f, PER>;
    for (var r = 0u; r < PER; r += 1) {
        below[r] = vec4f();
        weight[r] = vec4f();
    }
    for (var first = 0u; first < params.key_vectors; first += CHUNK) {
        workgroupBarrier();
        for (var i = lane; i < C * CHUNK; i += GROUP) {
            let token = token_at(i / CHUNK);
            let column = first + i % CHUNK;
            let at = rows + token * VALUE_HEADS * ROW + column;
            let there = token < chunk.tokens && column < K4;
            let to = i / CHUNK * STRIDE + i % CHUNK;
            for (var operand = 0u; operand < OPERANDS; operand += 1) {
                var vector = vec4f();
                if there {
                    vector = vectors[at + sources[operand]];
                }
                tile[to + operand * C * STRIDE] = vector;
            }
        }
        workgroupBarrier();
        add_products(&below, &weight, x, y);
    }
    for (var r = 0u; r < PER; r += 1) {
        let i = token_at(y + Y * r);
        let keys = 4 * x + vec4u(0, 1, 2, 3);
        let between = between_of(rows, i, keys, chunk.tokens);
        if x <= i / 4 {
            lower[4 * (blocks_before(i / 4) + x) + i % 4] = select(vec4f(), below[r] * between, keys < vec4u(i));
        }
        if i < chunk.tokens {
            weights[(row + i * VALUE_HEADS) * C4 + x] = select(vec4f(), weight[r] * between, keys <= vec4u(i));
        }
    }
    workgroupBarrier();
    if lane < C {
        solve(lane);
    }
    workgroupBarrier();
    let last = rows + (chunk.tokens - 1) * VALUE_HEADS * ROW;
    for (var first = 0u; first < params.key_vectors; first += COLUMNS) {
        for (var i = lane; i < C * COLUMNS; i += GROUP) {
            let column = first + i % COLUMNS;
            var vector = vec4f();
            if i / COLUMNS < chunk.tokens && column < K4 {
                let at = rows + i / COLUMNS * VALUE_HEADS * ROW;
                let since = since_of(at, column);
                vector = since * vectors[at + READ + column];
                if CHANNELS {
                    vectors[at + column] *= since;
                    vectors[at + KEY + column] *= until_of(at, last, column);
                }
            }
            tile[i] = vector;
        }
        workgroupBarrier();
        apply(rows, READ, first, K4, chunk.tokens, lane);
        workgroupBarrier();
    }
    for (var first = 0u; first < V4; first += COLUMNS) {
        for (var i = lane; i < C * COLUMNS; i += GROUP) {
            let column = first + i % COLUMNS;
            var vector = vec4f();
            if i / COLUMNS < chunk.tokens && column < V4 {
                vector = vectors[rows + i / COLUMNS * VALUE_HEADS * ROW + WRITTEN + column];
            }
            tile[i] = vector;
        }
        workgroupBarrier();
        apply(rows, WRITTEN, first, V4, chunk.tokens, lane);
        workgroupBarrier();
    }
}
