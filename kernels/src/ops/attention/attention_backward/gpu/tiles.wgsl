// Sums over pairs of a query and a key. A workgroup owns OWN items (queries or keys) of one key head and walks the
// others (keys or queries), OTHERS at a time:
//
//     products   lane (x, y) computes items y, y + Y, .. and others x, x + X, ..: first query times key, then dout
//                times value, both in chunks of CHUNK vectors
//     pairs      turns both products into the weight, and the derivative of the first product
//     sums       lane (x, y) sums vectors x, x + X, .. of the same items; others arrive 4 STEP at a time
//
// All products are outer products in registers: PER x 4 x 4 and PER x columns x 16 multiply-adds for PER + 4 and
// PER + 4 columns vector reads. Each sum has a fixed order, so every run gives the same bits.

// Offset of a step's vectors of the others: they follow the factors, [OWN, X] vectors.
const FACTORS = OWN * X;
const K_PADDED = X * K_COLUMNS;
const V_PADDED = X * V_COLUMNS;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles = (own_most() + OWN - 1) / OWN;
    let index = id.y * ids.x + id.x;
    if index >= tiles * params.kv_heads * params.batch {
        return;
    }
    // With a causal mask the last queries see the most keys, and the
    // first keys are seen by the most queries. Those are scheduled first.
    let order = index % tiles;
    let first = select(order, tiles - 1 - order, LAST_FIRST) * OWN;
    let g = index / tiles % params.kv_heads;
    let b = index / tiles / params.kv_heads;
    let s = sequence_of(b);
    let count = own_count(s);
    if first >= count {
        return;
    }
    let x = lane % X;
    let y = lane / X;
    let d = lane % CHUNK;
    let j = lane / CHUNK;

    let span = reach(first, min(first + OWN, count), s);
    var own: array<Own, PER>;
    var sum: array<vec4f, PER * K_COLUMNS>;
    var value_sum: array<vec4f, PER * V_COLUMNS>;
    for (var r = 0u; r < PER; r += 1) {
        own[r] = own_of(s, g, first + y + Y * r);
        for (var c = 0u; c < K_COLUMNS; c += 1) {
            sum[r * K_COLUMNS + c] = vec4f();
        }
        for (var c = 0u; c < V_COLUMNS; c += 1) {
            value_sum[r * V_COLUMNS + c] = vec4f();
        }
    }
    for (var i = lane; i < OWN; i += GROUP) {
        own_at[i] = own_places(s, g, first + i);
    }

    for (var start = span.x / OTHERS * OTHERS; start < span.y; start += OTHERS) {
        for (var i = lane; i < OTHERS; i += GROUP) {
            other_at[i] = other_places(s, g, start + i);
        }
        var product: array<vec4f, PER>;
        var derivative: array<vec4f, PER>;
        for (var r = 0u; r < PER; r += 1) {
            product[r] = vec4f();
            derivative[r] = vec4f();
        }
        for (var chunk = 0u; chunk < D4; chunk += CHUNK) {
            // Barrier: the offsets are stored, and the tile's previous contents are no longer in use.
            workgroupBarrier();
            for (var i = j; i < OWN; i += AT_ONCE) {
                var vector = vec4f();
                if D4 % CHUNK == 0 || chunk + d < D4 {
                    vector = load_own(own_at[i].x, chunk + d);
                }
                tile[i * STRIDE + d] = vector;
            }
            for (var i = j; i < OTHERS; i += AT_ONCE) {
                var vector = vec4f();
                if D4 % CHUNK == 0 || chunk + d < D4 {
                    vector = load_other(other_at[i].x, chunk + d);
                }
                tile[(OWN + i) * STRIDE + d] = vector;
            }
            workgroupBarrier();
            add_products(&product, x, y);
        }
        for (var chunk = 0u; chunk < V4; chunk += CHUNK) {
            workgroupBarrier();
            for (var i = j; i < OWN; i += AT_ONCE) {
                var vector = vec4f();
                if V4 % CHUNK == 0 || chunk + d < V4 {
                    vector = load_own_value(own_at[i].y, chunk + d);
                }
                tile[i * STRIDE + d] = vector;
            }
            for (var i = j; i < OTHERS; i += AT_ONCE) {
                var vector = vec4f();
                if V4 % CHUNK == 0 || chunk + d < V4 {
                    vector = load_other_value(other_at[i].y, chunk + d);
                }
                tile[(OWN + i) * STRIDE + d] = vector;
            }
            workgroupBarrier();
            add_products(&derivative, x, y);
        }

        for (var c = 0u; c < 4; c += 1) {
            let other = other_of(s, g, start + x + X * c);
            for (var r = 0u; r < PER; r += 1) {
                let both = pair_of(own[r], other, product[r][c], derivative[r][c]);
                product[r][c] = both.x;
                derivative[r][c] = both.y;
            }
        }

        if VALUES {
            workgroupBarrier();
            for (var r = 0u; r < PER; r += 1) {
                tile[(y + Y * r) * X + x] = product[r];
            }
            for (var step = 0u; step < X; step += STEP) {
                if step > 0 {
                    workgroupBarrier();
                }
                for (var n = y; n < 4 * STEP; n += Y) {
                    let place = other_at[step + n / 4 + X * (n % 4)].y;
                    for (var c = 0u; c < V_COLUMNS; c += 1) {
                        if V_PADDED == V4 || x + X * c < V4 {
                            tile[FACTORS + n * V_PADDED + x + X * c] = load_other_value(place, x + X * c);
                        }
                    }
                }
                // Barrier: the vectors and, at the first step, the factors are stored.
                workgroupBarrier();
                for (var k = 0u; k < STEP; k += 1) {
                    var w: array<vec4f, PER>;
                    for (var r = 0u; r < PER; r += 1) {
                        w[r] = tile[(y + Y * r) * X + step + k];
                    }
                    for (var c = 0u; c < V_COLUMNS; c += 1) {
                        let at = FACTORS + 4 * k * V_PADDED + x + X * c;
                        let v0 = tile[at];
                        let v1 = tile[at + V_PADDED];
                        let v2 = tile[at + 2 * V_PADDED];
                        let v3 = tile[at + 3 * V_PADDED];
                        for (var r = 0u; r < PER; r += 1) {
                            let i = r * V_COLUMNS + c;
                            value_sum[i] = w[r].w * v3 + (w[r].z * v2 + (w[r].y * v1 + (w[r].x * v0 + value_sum[i])));
                        }
                    }
                }
            }
        }

        workgroupBarrier();
        for (var r = 0u; r < PER; r += 1) {
            tile[(y + Y * r) * X + x] = derivative[r];
        }
        for (var step = 0u; step < X; step += STEP) {
            if step > 0 {
                workgroupBarrier();
            }
            for (var n = y; n < 4 * STEP; n += Y) {
                let place = other_at[step + n / 4 + X * (n % 4)].x;
                for (var c = 0u; c < K_COLUMNS; c += 1) {
                    if K_PADDED == D4 || x + X * c < D4 {
                        tile[FACTORS + n * K_PADDED + x + X * c] = load_other(place, x + X * c);
                    }
                }
            }
            workgroupBarrier();
            for (var k = 0u; k < STEP; k += 1) {
                var w: array<vec4f, PER>;
                for (var r = 0u; r < PER; r += 1) {
                    w[r] = tile[(y + Y * r) * X + step + k];
                }
                for (var c = 0u; c < K_COLUMNS; c += 1) {
                    let at = FACTORS + 4 * k * K_PADDED + x + X * c;
                    let v0 = tile[at];
                    let v1 = tile[at + K_PADDED];
                    let v2 = tile[at + 2 * K_PADDED];
                    let v3 = tile[at + 3 * K_PADDED];
                    for (var r = 0u; r < PER; r += 1) {
                        let i = r * K_COLUMNS + c;
                        sum[i] = w[r].w * v3 + (w[r].z * v2 + (w[r].y * v1 + (w[r].x * v0 + sum[i])));
                    }
                }
            }
        }
    }

    for (var r = 0u; r < PER; r += 1) {
        let item = first + y + Y * r;
        if item >= count {
            continue;
        }
        for (var c = 0u; c < K_COLUMNS; c += 1) {
            if x + X * c < D4 {
                store(s, g, item, x + X * c, params.gradient_scale * sum[r * K_COLUMNS + c]);
            }
        }
        for (var c = 0u; c < V_COLUMNS; c += 1) {
            if x + X * c < V4 {
                store_value(s, g, item, x + X * c, value_sum[r * V_COLUMNS + c]);
            }
        }
    }
}
