// Scan over the chunks of a sequence. A workgroup owns 4 WIDTH columns of a state,
// which are independent of the others; lane (x, y) owns four of them in rows 4 y to 4
// y + 3, 4 (y + Y) to .. It stores the state before each chunk and replaces U by `new`:
//
//     new   = U - W S                                 lane (x, y) for tokens y, y + Y, ..
//     S     = exp(G[last]) S + (exp(G[last] - G) K)^T new

const Y = GROUP / WIDTH;
const QUADS = (K4 + Y - 1) / Y;
const PER = (C + Y - 1) / Y;
const STEP = VALUE_HEADS * ROW;
// Data loaded ahead of its first use, to hide memory latency: keys of AHEAD tokens (a divisor of C) and NEXT vectors
// of W. With more, RDNA 3 runs out of registers.
const AHEAD = 4u;
const NEXT = select(1u, 2u, PER <= 4 && K4 % 2 == 0);

// [4 K4, WIDTH]
var<workgroup> state: array<vec4f, 4 * K4 * WIDTH>;
// [C, WIDTH]
var<workgroup> updates: array<vec4f, C * WIDTH>;

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
    let x = lane % WIDTH;
    let y = lane / WIDTH;
    let column = unit % BLOCKS * WIDTH + x;
    let head = unit / BLOCKS % VALUE_HEADS;
    let n = unit / BLOCKS / VALUE_HEADS;
    let span = span_of(n);
    let slot = slot_of(n);
    if slot >= params.slots || span.x == span.y {
        return;
    }
    let kept = params.states_start + (slot * VALUE_HEADS + head) * K * V + 4 * column;
    var own: array<vec4f, 4 * QUADS>;
    for (var i = 0u; i < 4 * QUADS; i += 1) {
        let k = 4 * (y + i / 4 * Y) + i % 4;
        own[i] = vec4f();
        if k < K {
            for (var c = 0u; c < 4; c += 1) {
                if 4 * column + c < V {
                    own[i][c] = states[kept + k * V + c];
                }
            }
        }
        if k < 4 * K4 {
            state[k * WIDTH + x] = own[i];
        }
    }
    workgroupBarrier();
    var place = first_place(n) * VALUE_HEADS + head;
    for (var first = span.x; first < span.y; first += TOKENS) {
        let tokens = min(TOKENS, span.y - first);
        let rows = row_of(n, first, head) * ROW;
        var sums: array<vec4f, PER>;
        var at: array<u32, PER>;
        var until: array<f32, PER>;
        let last = rows + (tokens - 1) * STEP;
        for (var r = 0u; r < PER; r += 1) {
            sums[r] = vec4f();
            at[r] = rows + min(y + Y * r, tokens - 1) * STEP;
            until[r] = until_row(at[r], last);
        }
        for (var i = 0u; i < params.key_vectors; i += NEXT) {
            var reads: array<vec4f, NEXT * PER>;
            for (var j = 0u; j < NEXT; j += 1) {
                for (var r = 0u; r < PER; r += 1) {
                    reads[j * PER + r] = vectors[at[r] + READ + i + j];
                }
            }
            for (var j = 0u; j < NEXT; j += 1) {
                let s = 4 * (i + j) * WIDTH + x;
                let m = mat4x4f(state[s], state[s + WIDTH], state[s + 2 * WIDTH], state[s + 3 * WIDTH]);
                for (var r = 0u; r < PER; r += 1) {
                    sums[r] = add4(sums[r], reads[j * PER + r], m);
                }
            }
        }
        for (var r = 0u; r < PER; r += 1) {
            let t = y + Y * r;
            var update = vec4f();
            if t < tokens && column < V4 {
                update = vectors[at[r] + WRITTEN + column] - sums[r];
                vectors[at[r] + WRITTEN + column] = update;
            }
            if t < C {
                updates[t * WIDTH + x] = until[r] * update;
            }
        }
        for (var q = 0u; q < QUADS; q += 1) {
            let k = min(y + Y * q, K4 - 1);
            let decay = since_of(last, k);
            for (var c = 0u; c < 4; c += 1) {
                if y + Y * q < K4 && column < V4 {
                    before[(place * 4 * K4 + 4 * k + c) * V4 + column] = own[4 * q + c];
                }
                own[4 * q + c] *= decay[c];
            }
        }
        workgroupBarrier();
        // Updates past the last token are 0.
        for (var t = 0u; t < tokens; t += AHEAD) {
            var keys: array<vec4f, AHEAD * QUADS>;
            for (var j = 0u; j < AHEAD; j += 1) {
                for (var q = 0u; q < QUADS; q += 1) {
                    keys[j * QUADS + q] = vectors[rows + min(t + j, tokens - 1) * STEP + KEY + min(y + Y * q, K4 - 1)];
                }
            }
            for (var j = 0u; j < AHEAD; j += 1) {
                let update = updates[(t + j) * WIDTH + x];
                for (var q = 0u; q < QUADS; q += 1) {
                    let key = keys[j * QUADS + q];
                    own[4 * q] += key.x * update;
                    own[4 * q + 1] += key.y * update;
                    own[4 * q + 2] += key.z * update;
                    own[4 * q + 3] += key.w * update;
                }
            }
        }
        for (var i = 0u; i < 4 * QUADS; i += 1) {
            let k = 4 * (y + i / 4 * Y) + i % 4;
            if k < 4 * K4 {
                state[k * WIDTH + x] = own[i];
            }
        }
        workgroupBarrier();
        place += VALUE_HEADS;
    }
    for (var i = 0u; i < 4 * QUADS; i += 1) {
        let k = 4 * (y + i / 4 * Y) + i % 4;
        if k < K {
            for (var c = 0u; c < 4; c += 1) {
                if 4 * column + c < V {
                    states[kept + k * V + c] = own[i][c];
                }
            }
        }
    }
}
