// Gradient of the bias. A workgroup owns OWN queries by OTHERS keys of one bias plane, and sums over the sequences and
// heads that share the plane, in order.

@group(0) @binding(DBIAS_BINDING) var<storage, read_write> dbias: array<f32>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let heads = params.kv_heads * GROUPED;
    let own_tiles = (params.queries + OWN - 1) / OWN;
    let other_tiles = (params.keys + OTHERS - 1) / OTHERS;
    let head_planes = select(1, heads, OWN_HEADS);
    let batch_planes = select(1, params.batch, OWN_BATCH);
    let index = id.y * ids.x + id.x;
    let plane = index / other_tiles / own_tiles;
    if plane >= batch_planes * head_planes {
        return;
    }
    let start = index % other_tiles * OTHERS;
    let first = index / other_tiles % own_tiles * OWN;
    let batches = select(vec2u(0, params.batch), plane / head_planes + vec2u(0, 1), OWN_BATCH);
    let some_heads = select(vec2u(0, heads), plane % head_planes + vec2u(0, 1), OWN_HEADS);
    let x = lane % X;
    let y = lane / X;
    let d = lane % CHUNK;
    let j = lane / CHUNK;

    var sum: array<vec4f, PER>;
    for (var r = 0u; r < PER; r += 1) {
        sum[r] = vec4f();
    }
    for (var b = batches.x; b < batches.y; b += 1) {
        let s = sequence_of(b);
        let last = i32(min(first + OWN, s.queries)) - 1 + behind(s);
        let nearest = i32(first) + behind(s);
        let gone = (CAUSAL && i32(start) > last) || (WINDOW && i32(start + OTHERS) <= nearest - i32(params.window) + 1);
        if first >= s.queries || start >= s.keys || gone {
            continue;
        }
        for (var h = some_heads.x; h < some_heads.y; h += 1) {
            let g = h / GROUPED;
            // Barrier: the offsets of the previous head are no longer in use.
            workgroupBarrier();
            for (var i = lane; i < OWN; i += GROUP) {
                own_at[i] = query_places(s, g, min(first + i, s.queries - 1) * GROUPED + h % GROUPED);
            }
            for (var i = lane; i < OTHERS; i += GROUP) {
                other_at[i] = key_places(s, g, start + i);
            }
            var product: array<vec4f, PER>;
            var derivative: array<vec4f, PER>;
            for (var r = 0u; r < PER; r += 1) {
                product[r] = vec4f();
                derivative[r] = vec4f();
            }
            for (var chunk = 0u; chunk < D4; chunk += CHUNK) {
                workgroupBarrier();
                for (var i = j; i < OWN + OTHERS; i += AT_ONCE) {
                    var vector = vec4f();
                    if D4 % CHUNK == 0 || chunk + d < D4 {
                        if i < OWN {
                            vector = load_q(own_at[i].x, chunk + d);
                        } else {
                            vector = load_k(other_at[i - OWN].x, chunk + d);
                        }
                    }
                    tile[i * STRIDE + d] = vector;
                }
                workgroupBarrier();
                add_products(&product, x, y);
            }
            for (var chunk = 0u; chunk < V4; chunk += CHUNK) {
                workgroupBarrier();
                for (var i = j; i < OWN + OTHERS; i += AT_ONCE) {
                    var vector = vec4f();
                    if V4 % CHUNK == 0 || chunk + d < V4 {
                        if i < OWN {
                            vector = load_dout(own_at[i].y, chunk + d);
                        } else {
                            vector = load_v(other_at[i - OWN].y, chunk + d);
                        }
                    }
                    tile[i * STRIDE + d] = vector;
                }
                workgroupBarrier();
                add_products(&derivative, x, y);
            }
            for (var r = 0u; r < PER; r += 1) {
                let t = first + y + Y * r;
                if t < s.queries {
                    let query = query_of(s, g, t * GROUPED + h % GROUPED);
                    for (var c = 0u; c < 4; c += 1) {
                        sum[r][c] += pair(query, start + x + X * c, product[r][c], derivative[r][c]).z;
                    }
                }
            }
        }
    }
    for (var r = 0u; r < PER; r += 1) {
        let t = first + y + Y * r;
        for (var c = 0u; c < 4; c += 1) {
            let key = start + x + X * c;
            if t < params.queries && key < params.keys {
                dbias[params.dbias_start + (plane * params.queries + t) * params.keys + key] = sum[r][c];
            }
        }
    }
}
