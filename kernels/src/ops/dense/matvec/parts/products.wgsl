// Products of four rows of the weight with TOKENS <= 4 tokens, over every `step`-th unit from `first` on.
//
// Adjacent units are adjacent in memory: 16 bytes of f16 and bf16, 2 x 16 of f32, a word of nibbles for both halves of
// Q4. Each weight is read once for all tokens, and each x once per four rows (from a cache after the first), so the
// bytes are those of the weights: 4, 2, 2, 1.06, 0.56 and 0.63 per weight, for 2 TOKENS flop.
//
// With NORM, x is multiplied by the weights of the norm, and its squares are summed as well. The product with the
// normalised x is this product times `inverses(squares)`.

struct Sums {
    // For each token, its products with the four rows.
    t0: vec4f,
    t1: vec4f,
    t2: vec4f,
    t3: vec4f,
    // [TOKENS]
    squares: vec4f,
}

struct Input {
    near: vec4f,
    far: vec4f,
    squares: f32,
}

// Loads a unit of a token, multiplied with NORM by the weights of the norm.
fn input(token: u32, k: u32, near: vec4f, far: vec4f) -> Input {
    let a = x4(token, k);
    let b = x4(token, k + FAR);
    if NORM {
        return Input(a * near, b * far, dot(a, a) + dot(b, b));
    }
    return Input(a, b, 0.0);
}

fn products(rows: vec4u, first: u32, step: u32) -> Sums {
    let places = vec4u(weight_row(rows.x), weight_row(rows.y), weight_row(rows.z), weight_row(rows.w));
    let units = (params.width + 7) / 8;
    var sums: Sums;
    for (var unit = first; unit < units; unit += step) {
        let a = weight8_at(places.x, unit);
        let b = weight8_at(places.y, unit);
        let c = weight8_at(places.z, unit);
        let d = weight8_at(places.w, unit);
        let near = mat4x4f(a.near, b.near, c.near, d.near);
        let far = mat4x4f(a.far, b.far, c.far, d.far);
        let k = unit_start(unit);
        var near_norm: vec4f;
        var far_norm: vec4f;
        if NORM {
            near_norm = norm4(k);
            far_norm = norm4(k + FAR);
        }
        let x = input(0, k, near_norm, far_norm);
        sums.t0 += x.near * near + x.far * far;
        sums.squares.x += x.squares;
        if TOKENS > 1 {
            let x = input(1, k, near_norm, far_norm);
            sums.t1 += x.near * near + x.far * far;
            sums.squares.y += x.squares;
        }
        if TOKENS > 2 {
            let x = input(2, k, near_norm, far_norm);
            sums.t2 += x.near * near + x.far * far;
            sums.squares.z += x.squares;
        }
        if TOKENS > 3 {
            let x = input(3, k, near_norm, far_norm);
            sums.t3 += x.near * near + x.far * far;
            sums.squares.w += x.squares;
        }
    }
    return sums;
}
