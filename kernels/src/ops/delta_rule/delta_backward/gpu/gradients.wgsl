// Gradients of G, E, K and Q of a chunk, from the states before it and the gradients of the states after it. A
// workgroup owns 4 X channels of a chunk of a value head:
//
//     pairs       dL = -dW U^T and dP = dO U^T where L and P are not 0, times decays if channels share them
//     states      lane (x, y) computes tokens 4 y .. 4 y + 3 and channels 4 x .. 4 x + 3 of
//                 dQ = exp(G) (dO S^T),  dE = -exp(G) (dW S^T),  dK = exp(G[last] - G) (U dS^T)
//     tokens      dQ += dP K,  dE += dL K,  dK += dP^T Q + dL^T E, with the decays between the tokens
//     decays      dG = Q dQ + E dE - K dK, plus the gradient through exp(G[last]) in the last row; then summed
//                 from the last row to the first
//
// Source: 2406.06484 and 2510.26692; dL needs no inverse, as the module says.

@group(0) @binding(0) var<storage, read> vectors: array<vec4f>;
@group(0) @binding(1) var<storage, read> values: array<vec4f>;
@group(0) @binding(2) var<storage, read> solved: array<vec4f>;
@group(0) @binding(3) var<storage, read> states: array<vec4f>;
@group(0) @binding(4) var<storage, read> dstates: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> gradients: array<vec4f>;

// dL and dP, [C, C]
var<workgroup> pairs: array<vec2f, PAIRS>;
// [Y, X]: gradient of G per row of four tokens, then of G[last].
var<workgroup> shares: array<vec4f, SHARES>;

const X = GROUP / (C / 4);

struct Sums {
    dq: array<vec4f, 4>,
    de: array<vec4f, 4>,
    dk: array<vec4f, 4>,
    // Gradient of G[last] through the decay of the whole state.
    whole: vec4f,
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
    let head = unit / TILES % VALUE_HEADS;
    let slot = unit / TILES / VALUE_HEADS;
    let chunk = chunk_of(slot, head);
    if chunk.tokens == 0 {
        return;
    }
    let x = lane % X;
    let first = lane / X * 4;
    let d = min(unit % TILES * X + x, K4 - 1);
    pair_up(chunk, lane);
    var sums = by_states(chunk, first, (slot * VALUE_HEADS + head) * V4 * 4 * K4 + 4 * d);

    let last = channels(row(chunk, chunk.tokens - 1), d)[0];
    var decays = array<vec4f, 4>(last, last, last, last);
    var by_last = vec4f();
    // A branch per token instead of a select: loading four tokens at once exceeds the registers.
    for (var r = 0u; r < 4; r += 1) {
        if first + r < chunk.tokens {
            let own = channels(row(chunk, first + r), d);
            decays[r] = own[0];
            let since = exp(own[0]);
            sums.dq[r] *= since;
            sums.de[r] *= -since;
            sums.dk[r] *= exp(last - own[0]);
            by_last += own[2] * sums.dk[r];
        }
    }
    workgroupBarrier();
    for (var j = 0u; j < chunk.tokens; j += 1) {
        let other = channels(row(chunk, j), d);
        for (var r = 0u; r < 4; r += 1) {
            let i = first + r;
            let below = pairs[i * C + j];
            let above = pairs[j * C + i];
            var between = vec4f(1);
            if CHANNELS {
                between = exp(select(other[0] - decays[r], decays[r] - other[0], j <= i));
            }
            let key = between * other[2];
            sums.dq[r] += below.y * key;
            sums.de[r] += below.x * key;
            sums.dk[r] += between * (above.x * other[1] + above.y * other[3]);
        }
    }
    var rows: array<vec4f, 4>;
    var total = vec4f();
    for (var r = 0u; r < 4; r += 1) {
        if first + r < chunk.tokens {
            let own = channels(row(chunk, first + r), d);
            rows[r] = own[3] * sums.dq[r] + own[1] * sums.de[r] - own[2] * sums.dk[r];
            total += rows[r];
        }
    }
    shares[lane] = total;
    shares[GROUP + lane] = by_last;
    workgroupBarrier();
    var sum = exp(last) * sums.whole;
    for (var at = x; at < GROUP; at += X) {
        sum += shares[GROUP + at];
        sum += select(vec4f(), shares[at], at > lane);
    }
    for (var back = 0u; back < 4; back += 1) {
        let r = 3 - back;
        sum += rows[r];
        if first + r < chunk.tokens && unit % TILES * X + x < K4 {
            let out = transpose(mat4x4f(sum, sums.de[r], sums.dk[r], sums.dq[r]));
            let to = 4 * (row(chunk, first + r) * K4 + d);
            gradients[to] = out[0];
            gradients[to + 1] = out[1];
            gradients[to + 2] = out[2];
            gradients[to + 3] = out[3];
        }
    }
}

fn by_states(chunk: Chunk, first: u32, states_at: u32) -> Sums {
    var sums = Sums();
    var source: array<u32, 4>;
    for (var r = 0u; r < 4; r += 1) {
        source[r] = 2 * row(chunk, min(first + r, chunk.tokens - 1)) * V4;
    }
    // Two loops, the second of which reloads the states: a single loop would exceed a lane's registers.
    for (var column = 0u; column < params.columns; column += 1) {
        let at = states_at + column * 4 * K4;
        let s = mat4x4f(states[at], states[at + 1], states[at + 2], states[at + 3]);
        for (var r = 0u; r < 4; r += 1) {
            sums.dq[r] += values[source[r] + V4 + column] * s;
            sums.de[r] += solved[source[r] + V4 + column] * s;
        }
    }
    for (var column = 0u; column < params.columns; column += 1) {
        let at = states_at + column * 4 * K4;
        let ds = mat4x4f(dstates[at], dstates[at + 1], dstates[at + 2], dstates[at + 3]);
        for (var r = 0u; r < 4; r += 1) {
            sums.dk[r] += solved[source[r] + column] * ds;
        }
        for (var c = 0u; c < 4; c += 1) {
            sums.whole[c] += dot(states[at + c], ds[c]);
        }
    }
    return sums;
}

fn pair_up(chunk: Chunk, lane: u32) {
    for (var at = lane; at < PAIRS / 4; at += GROUP) {
        let i = 4 * at / C;
        let others = 4 * at % C + vec4u(0, 1, 2, 3);
        let below = vec4<bool>(i < chunk.tokens) & (others <= vec4u(i));
        var dl = vec4f();
        var dp = vec4f();
        if below.x {
            let x = 2 * row(chunk, i) * V4 + V4;
            let y = 2 * (chunk.row + min(others, vec4u(chunk.tokens - 1)) * VALUE_HEADS) * V4;
            for (var column = 0u; column < params.columns; column += 1) {
                let updates = mat4x4f(solved[y.x + column], solved[y.y + column], solved[y.z + column], solved[y.w + column]);
                dl -= solved[x + column] * updates;
                dp += values[x + column] * updates;
            }
            if !CHANNELS {
                let decays = (chunk.row + min(others, vec4u(chunk.tokens - 1)) * VALUE_HEADS) * 4 * K4;
                let g = vec4f(vectors[decays.x].x, vectors[decays.y].x, vectors[decays.z].x, vectors[decays.w].x);
                let between = exp(select(vec4f(), vectors[row(chunk, i) * 4 * K4].x - g, below));
                dl *= between;
                dp *= between;
            }
        }
        for (var b = 0u; b < 4; b += 1) {
            pairs[4 * at + b] = vec2f(select(0.0, dl[b], below[b] && others[b] < i), select(0.0, dp[b], below[b]));
        }
    }
}
