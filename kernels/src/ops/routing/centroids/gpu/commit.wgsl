// Commitment loss: a workgroup owns a centroid of a head of a sequence. Each lane takes one token at a time and
// computes its squared distance and its gradient.

// [B, H, C]: sums of squared distances.
@group(0) @binding(5) var<storage, read_write> losses: array<f32>;
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;

var<workgroup> shares: array<f32, GROUP>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let list = id.y * ids.x + id.x;
    if list >= params.batch * params.heads * params.clusters {
        return;
    }
    let unit = list / params.clusters;
    let centroid = params.centroids_start + (unit % params.heads * params.clusters + list % params.clusters) * D;
    let places = list_of(list);
    var loss = 0.0;
    for (var place = places.x + lane; place < places.y; place += GROUP) {
        let token = token_at(unit, place);
        if token >= params.tokens {
            continue;
        }
        let row = row_of(unit, token);
        var square = 0.0;
        var sum = 0.0;
        var along = 0.0;
        for (var d = 0u; d < params.dim; d += 1) {
            let n = normal(row, d);
            let off = n - centroids[centroid + d];
            square += off * off;
            sum += off;
            along += off * n;
        }
        loss += square;
        let mean = select(0.0, sum / f32(D), LAYER);
        along = select(0.0, along / select(1.0, f32(D), LAYER), NORMS);
        for (var d = 0u; d < params.dim; d += 1) {
            let n = normal(row, d);
            let off = n - centroids[centroid + d];
            dx[params.out_start + row * D + d] = rows[row].y * params.scale * (off - mean - n * along);
        }
    }
    shares[lane] = loss;
    workgroupBarrier();
    if lane == 0 {
        var all = 0.0;
        for (var i = 0u; i < GROUP; i += 1) {
            all += shares[i];
        }
        losses[list] = all;
    }
}
