// Updates a centroid of a head per workgroup: each lane sums its elements over the tokens, in order.

@group(0) @binding(5) var<storage, read> weights: array<vec4f>;

const PER = (D + GROUP - 1) / GROUP;

var<workgroup> squares: array<f32, GROUP>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let own = id.y * ids.x + id.x;
    if own >= params.heads * params.clusters {
        return;
    }
    var sum: array<f32, PER>;
    for (var i = 0u; i < PER; i += 1) {
        sum[i] = 0.0;
    }
    for (var b = 0u; b < params.batch; b += 1) {
        let unit = b * params.heads + own / params.clusters;
        let places = list_of(unit * params.clusters + own % params.clusters);
        for (var place = places.x; place < places.y; place += 1) {
            let token = token_at(unit, place);
            if token >= params.tokens {
                continue;
            }
            let row = row_of(unit, token);
            for (var i = 0u; i < PER; i += 1) {
                sum[i] += normal(row, min(lane + i * GROUP, D - 1));
            }
        }
    }
    var square = 0.0;
    for (var i = 0u; i < PER; i += 1) {
        square += select(0.0, sum[i] * sum[i], lane + i * GROUP < D);
    }
    squares[lane] = square;
    workgroupBarrier();
    var weight = weights[own];
    if UNIT {
        square = 0.0;
        for (var i = 0u; i < GROUP; i += 1) {
            square += squares[i];
        }
        weight.y *= select(0.0, inverseSqrt(max(square, 1e-37)), square > 0.0);
    }
    for (var i = 0u; i < PER; i += 1) {
        let d = lane + i * GROUP;
        if d < D && weight.w > 0.0 {
            move_element(own * D + d, weight, sum[i]);
        }
    }
}
