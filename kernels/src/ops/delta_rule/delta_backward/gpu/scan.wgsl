// Scans the chunks forward for the states before them or, with
// REVERSE, backward for the gradients of the states after them:
//
//     X = X0 + M S                updates of all tokens of the chunk (W - E S, solved), or their gradients
//     S = decays S + N^T X        and, with REVERSE, + Q^T dO
//
// A workgroup owns 4 COLUMNS columns of the state of a value head of a sequence. Lane
// (x, y) holds columns 4 y .. 4 y + 3 in rows 4 (x + X r) .. of the state in registers.
// Products over the rows are summed in workgroup memory, ROWS tokens at a time.

// Tokens whose keys are loaded ahead of their first use, to hide memory latency; it divides ROWS. With a large state
// RDNA 3 has registers for one only.
const AHEAD = select(select(4u, 2u, REVERSE), 1u, STATE > 8);

@group(0) @binding(0) var<storage, read> keys: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> solved: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> states: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> carry: array<vec4f>;

// [ROWS, COLUMNS, X]
var<workgroup> shares: array<vec4f, SHARES>;
// [C, COLUMNS]
var<workgroup> sums: array<vec4f, SUMS>;

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
    let block = unit % BLOCKS * COLUMNS;
    let head = unit / BLOCKS % VALUE_HEADS;
    let n = unit / BLOCKS / VALUE_HEADS;
    if !meets(n) {
        return;
    }
    let x = lane % X;
    let y = lane / X;
    let column = block + y;
    let here = column < V4;
    let span = span_of(n);
    var chunks = 0u;
    if span.y > span.x {
        chunks = (span.y - span.x + C - 1) / C;
    }
    let argument = (n * VALUE_HEADS + head) * K * V;
    let carried_at = (carried(n) * VALUE_HEADS + head) * V4 + min(column, V4 - 1);
    var state: array<vec4f, STATE>;
    for (var r = 0u; r < STATE / 4; r += 1) {
        for (var b = 0u; b < 4; b += 1) {
            let d = 4 * (x + X * r) + b;
            if !here || d >= 4 * K4 {
                state[4 * r + b] = vec4f();
            } else if begins(n) {
                state[4 * r + b] = begin(argument, d, column);
            } else {
                state[4 * r + b] = carry[((params.carry_from + carried_at) * 4 * K4) + d];
            }
        }
    }
    for (var c = 0u; c < chunks; c += 1) {
        let index = select(c, chunks - 1 - c, REVERSE);
        let start = span.x + index * C;
        let chunk = Chunk(min(C, span.y - start), row_of(n, start, head));
        let at = (slot_of(n) + index) * VALUE_HEADS + head;
        for (var r = 0u; r < STATE / 4; r += 1) {
            let d = x + X * r;
            for (var b = 0u; b < 4 && here && d < K4; b += 1) {
                states[(at * V4 + column) * 4 * K4 + 4 * d + b] = state[4 * r + b];
            }
        }
        let keys_at = at * MATRICES;
        for (var first = 0u; first < chunk.tokens; first += ROWS) {
            for (var i = 0u; i < ROWS; i += 1) {
                var sum = vec4f();
                for (var r = 0u; r < STATE / 4; r += 1) {
                    let m = key(keys_at + (M * C + first + i) * K4, x + X * r);
                    sum += mat4x4f(state[4 * r], state[4 * r + 1], state[4 * r + 2], state[4 * r + 3]) * m;
                }
                shares[i * GROUP + lane] = sum;
            }
            workgroupBarrier();
            for (var o = lane; o < ROWS * COLUMNS; o += GROUP) {
                let i = first + o / COLUMNS;
                let own = block + o % COLUMNS;
                var sum = vec4f();
                if i < chunk.tokens && own < V4 {
                    // Every lane begins at a different term, in its own bank.
                    for (var other = 0u; other < X; other += 1) {
                        sum += shares[o * X + (other + o) % X];
                    }
                    let to = (2 * row(chunk, i) + u32(REVERSE)) * V4 + own;
                    sum += solved[to];
                    solved[to] = sum;
                }
                sums[first * COLUMNS + o] = sum;
            }
            workgroupBarrier();
        }
        for (var r = 0u; r < STATE / 4; r += 1) {
            let decay = key(keys_at + 5 * C * K4, x + X * r);
            for (var b = 0u; b < 4; b += 1) {
                state[4 * r + b] *= decay[b];
            }
        }
        // Sums past the last token are 0.
        for (var first = 0u; first < chunk.tokens; first += AHEAD) {
            var n_keys: array<vec4f, AHEAD * STATE / 4>;
            var queries: array<vec4f, AHEAD * STATE / 4>;
            var by_outs: array<vec4f, AHEAD>;
            for (var j = 0u; j < AHEAD; j += 1) {
                let i = min(first + j, chunk.tokens - 1);
                by_outs[j] = select(vec4f(), dout_of(row(chunk, i), min(column, V4 - 1)), first + j == i);
                for (var r = 0u; r < STATE / 4; r += 1) {
                    n_keys[j * STATE / 4 + r] = key(keys_at + ((M + 1) * C + i) * K4, x + X * r);
                    if REVERSE {
                        queries[j * STATE / 4 + r] = key(keys_at + (4 * C + i) * K4, x + X * r);
                    }
                }
            }
            for (var j = 0u; j < AHEAD; j += 1) {
                let sum = sums[(first + j) * COLUMNS + y];
                for (var r = 0u; r < STATE / 4; r += 1) {
                    let n_key = n_keys[j * STATE / 4 + r];
                    let query = queries[j * STATE / 4 + r];
                    for (var b = 0u; b < 4; b += 1) {
                        state[4 * r + b] += n_key[b] * sum + query[b] * by_outs[j];
                    }
                }
            }
        }
    }
    for (var r = 0u; r < STATE / 4; r += 1) {
        for (var b = 0u; b < 4; b += 1) {
            let d = 4 * (x + X * r) + b;
            if here && d < 4 * K4 {
                if ends(n) {
                    end(argument, d, column, state[4 * r + b]);
                } else {
                    carry[((params.carry_to + carried_at) * 4 * K4) + d] = state[4 * r + b];
                }
            }
        }
    }
}

// Returns four channels of a row of keys; 0 if the lane has no rows of the state.
fn key(at: u32, d: u32) -> vec4f {
    if EVEN {
        return keys[at + d];
    }
    return select(vec4f(), keys[at + min(d, K4 - 1)], d < K4);
}
