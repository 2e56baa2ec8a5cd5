// Matrices of a chunk of C tokens that do not depend on the state before it; the
// scans multiply states by them. A workgroup owns a chunk of a value head.
// A = (I + L)^-1, decays are sums of log decays, and matrices have one row per token:
//
//     sums      G, in place
//     pairs     L and P: sums over channels of E K and Q K, times the decays in between; then A by substitution;
//               then P A
//     keys      -A exp(G) E,  exp(G[last] - G) K,  A^T exp(G[last] - G) K,  -exp(G) E,  exp(G) Q,  and exp(G[last])
//     values    A W,  (P A)^T dO
//
// Source: the chunkwise form of 2406.06484, and of 2510.26692 for per-channel decays. No exponent is above 0.

@group(0) @binding(0) var<storage, read_write> vectors: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(2) var<storage, read> dout: array<f32>;
@group(0) @binding(3) var<storage, read_write> keys: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> solved: array<vec4f>;

// [C, C]
var<workgroup> l: array<f32, PAIRS>;
var<workgroup> p: array<f32, PAIRS>;
var<workgroup> a: array<f32, PAIRS>;

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
    let chunk = chunk_of(unit / VALUE_HEADS, head);
    if chunk.tokens == 0 {
        return;
    }
    add_up(chunk, lane);
    take_dout(chunk, head, lane);
    storageBarrier();
    pair_up(chunk, lane);
    workgroupBarrier();
    if lane < C {
        invert(lane);
    }
    decay(chunk, unit * MATRICES, lane);
    workgroupBarrier();
    storageBarrier();
    // P A replaces L.
    for (var at = lane; at < PAIRS; at += GROUP) {
        let i = at / C;
        let j = at % C;
        var sum = 0.0;
        for (var m = j; m <= i; m += 1) {
            sum = fma(p[i * C + m], a[m * C + j], sum);
        }
        l[at] = sum;
    }
    workgroupBarrier();
    solve_keys(unit * MATRICES, lane);
    solve_values(chunk, lane);
}

fn add_up(chunk: Chunk, lane: u32) {
    for (var d = lane; d < 4 * K4; d += GROUP) {
        var sum = 0.0;
        for (var i = 0u; i < chunk.tokens; i += 1) {
            let at = row(chunk, i) * 4 * K4 + d;
            let x = vectors[at];
            sum += x.x;
            vectors[at] = vec4f(sum, x.yzw);
        }
    }
}

fn take_dout(chunk: Chunk, head: u32, lane: u32) {
    let piece = chunk.row / VALUE_HEADS;
    let token = piece / params.count * params.tokens + params.first + piece % params.count;
    for (var at = lane; at < chunk.tokens * V4; at += GROUP) {
        let i = at / V4;
        let column = 4 * (at % V4);
        let source = params.dout_start + ((token + i) * VALUE_HEADS + head) * V;
        let columns = column + vec4u(0, 1, 2, 3);
        let at4 = source + min(columns, vec4u(V - 1));
        let x = vec4f(dout[at4.x], dout[at4.y], dout[at4.z], dout[at4.w]);
        values[(2 * row(chunk, i) + 1) * V4 + at % V4] = select(vec4f(), x, columns < vec4u(V));
    }
}

fn pair_up(chunk: Chunk, lane: u32) {
    for (var at = lane; at < PAIRS / 4; at += GROUP) {
        let i = 4 * at / C;
        let first = 4 * at % C;
        var l_sum = vec4f();
        var p_sum = vec4f();
        let others = first + vec4u(0, 1, 2, 3);
        let below = vec4<bool>(i < chunk.tokens) & (others <= vec4u(i));
        if below.x {
            let x_row = row(chunk, i) * 4 * K4;
            let y_row = (chunk.row + min(others, vec4u(chunk.tokens - 1)) * VALUE_HEADS) * 4 * K4;
            let g = vec4f(vectors[y_row.x].x, vectors[y_row.y].x, vectors[y_row.z].x, vectors[y_row.w].x);
            let factor = exp(select(vec4f(), vectors[x_row].x - g, below));
            for (var d = 0u; d < params.channels; d += 1) {
                let x = vectors[x_row + d];
                let y = array<vec4f, 4>(vectors[y_row.x + d], vectors[y_row.y + d], vectors[y_row.z + d], vectors[y_row.w + d]);
                var k = vec4f(y[0].z, y[1].z, y[2].z, y[3].z);
                if CHANNELS {
                    let between = x.x - vec4f(y[0].x, y[1].x, y[2].x, y[3].x);
                    k *= exp(select(vec4f(), between, below));
                }
                l_sum += x.y * k;
                p_sum += x.w * k;
            }
            if !CHANNELS {
                l_sum *= factor;
                p_sum *= factor;
            }
        }
        for (var b = 0u; b < 4; b += 1) {
            l[4 * at + b] = select(0.0, l_sum[b], below[b] && first + b < i);
            p[4 * at + b] = select(0.0, p_sum[b], below[b]);
        }
    }
}

// Computes column `j` of A.
fn invert(j: u32) {
    for (var i = 0u; i < C; i += 1) {
        var sum = select(0.0, 1.0, i == j);
        for (var m = j; m < i; m += 1) {
            sum = fma(-l[i * C + m], a[m * C + j], sum);
        }
        a[i * C + j] = sum;
    }
}

// Stores keys and queries times their decays; rows past the last token are 0.
fn decay(chunk: Chunk, keys_at: u32, lane: u32) {
    for (var at = lane; at < C * K4; at += GROUP) {
        let i = at / K4;
        let d = at % K4;
        var decayed = array<vec4f, 3>();
        if i < chunk.tokens {
            let x = channels(row(chunk, i), d);
            let last = channels(row(chunk, chunk.tokens - 1), d)[0];
            let since = exp(x[0]);
            decayed = array<vec4f, 3>(exp(last - x[0]) * x[2], -since * x[1], since * x[3]);
            if i == 0 {
                keys[keys_at + 5 * C * K4 + d] = exp(last);
            }
        }
        keys[keys_at + C * K4 + at] = decayed[0];
        keys[keys_at + 3 * C * K4 + at] = decayed[1];
        keys[keys_at + 4 * C * K4 + at] = decayed[2];
    }
}

fn solve_keys(keys_at: u32, lane: u32) {
    for (var at = lane; at < C / 4 * K4; at += GROUP) {
        let i = 4 * (at / K4);
        let d = at % K4;
        var reads = array<vec4f, 4>();
        var writes = array<vec4f, 4>();
        for (var j = 0u; j < params.most; j += 1) {
            let key = keys[keys_at + (C + j) * K4 + d];
            let read = keys[keys_at + (3 * C + j) * K4 + d];
            for (var b = 0u; b < 4; b += 1) {
                reads[b] += a[(i + b) * C + j] * read;
                writes[b] += a[j * C + i + b] * key;
            }
        }
        for (var b = 0u; b < 4; b += 1) {
            keys[keys_at + (i + b) * K4 + d] = reads[b];
            keys[keys_at + (2 * C + i + b) * K4 + d] = writes[b];
        }
    }
}

fn solve_values(chunk: Chunk, lane: u32) {
    for (var at = lane; at < C / 4 * V4; at += GROUP) {
        let i = 4 * (at / V4);
        let column = at % V4;
        var updates = array<vec4f, 4>();
        var back = array<vec4f, 4>();
        for (var j = 0u; j < chunk.tokens; j += 1) {
            let source = 2 * row(chunk, j) * V4 + column;
            let written = values[source];
            let by_out = values[source + V4];
            for (var b = 0u; b < 4; b += 1) {
                updates[b] += a[(i + b) * C + j] * written;
                back[b] += l[j * C + i + b] * by_out;
            }
        }
        for (var b = 0u; b < 4; b += 1) {
            if i + b < chunk.tokens {
                let to = 2 * row(chunk, i + b) * V4 + column;
                solved[to] = updates[b];
                solved[to + V4] = back[b];
            }
        }
    }
}
