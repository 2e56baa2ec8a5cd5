// y[t, n] for many tokens on a software driver. There, workgroup memory is behind the same caches as the operands and
// costs as much to read, so no tiles and no barriers are used. A workgroup of 8 x 8 lanes owns 8 PER tokens x 64
// outputs. Lane (column, row) owns tokens row + 8 t and outputs column + 8 c, and reads each of their units itself:
// 2 PER + 16 vectors for 64 PER multiply-adds.

var<private> sums: array<vec4f, PER * 2>;
var<private> x_places: array<u32, PER>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = tile_at(group.y * groups.x + group.x, 8 * PER);
    if !tile.here {
        return;
    }
    let token0 = tile.token0 + lane / 8;
    let row0 = tile.row0 + lane % 8;
    // Rows and tokens past an edge repeat the last one bit for bit and are written as such. Conditions around the
    // writes halved the speed on lavapipe, whose compiler then kept the sums in memory.
    for (var t = 0u; t < PER; t += 1) {
        x_places[t] = x_place(tile, token0 + 8 * t);
    }
    var places: array<u32, 8>;
    for (var c = 0u; c < 8; c += 1) {
        places[c] = weight_place(tile, row0 + 8 * c);
    }
    for (var unit = 0u; unit < (params.width + 7) / 8; unit += 1) {
        let a = weight8_at(places[0], unit);
        let b = weight8_at(places[1], unit);
        let c = weight8_at(places[2], unit);
        let d = weight8_at(places[3], unit);
        let e = weight8_at(places[4], unit);
        let f = weight8_at(places[5], unit);
        let g = weight8_at(places[6], unit);
        let h = weight8_at(places[7], unit);
        let k = unit_start(unit);
        add(k, transpose(mat4x4f(a.near, b.near, c.near, d.near)), transpose(mat4x4f(e.near, f.near, g.near, h.near)));
        add(k + FAR, transpose(mat4x4f(a.far, b.far, c.far, d.far)), transpose(mat4x4f(e.far, f.far, g.far, h.far)));
    }
    for (var t = 0u; t < PER; t += 1) {
        for (var c = 0u; c < 8; c += 1) {
            let token = min(token0 + 8 * t, tile.tokens - 1);
            put(tile, token, min(row0 + 8 * c, tile.rows - 1), sums[2 * t + c / 4][c % 4]);
        }
    }
}

// Adds the products of four k of x with the weights of eight outputs. Column
// i of `first` and `second` holds element k + i of four outputs each.
fn add(k: u32, first: mat4x4f, second: mat4x4f) {
    for (var t = 0u; t < PER; t += 1) {
        let x = x4_at(x_places[t], k);
        let i = 2 * t;
        sums[i] = x.w * first[3] + (x.z * first[2] + (x.y * first[1] + (x.x * first[0] + sums[i])));
        sums[i + 1] = x.w * second[3] + (x.z * second[2] + (x.y * second[1] + (x.x * second[0] + sums[i + 1])));
    }
}
