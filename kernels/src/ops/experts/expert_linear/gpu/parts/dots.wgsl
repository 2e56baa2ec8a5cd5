// Products of a pair of a token and an expert with four rows of the expert's weight.

@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(Y) var<storage, read_write> y: array<f32>;

struct Quad {
    // The pair, its expert and the first of four outputs.
    pair: u32,
    expert: u32,
    first: u32,
    // True if this piece of the weight has a row of the expert among the four, or zeros are to be written.
    here: bool,
}

// Returns quad `index` of all pairs; one past the end is not here.
fn quad_of(index: u32) -> Quad {
    let quads = (params.outputs + 3) / 4;
    let pair = index / quads;
    if pair >= params.pairs {
        return Quad(0, 0, 0, false);
    }
    let first = index % quads * 4;
    let expert = ids[params.ids_start + pair];
    if expert >= params.experts {
        return Quad(pair, expert, first, params.row0 == 0);
    }
    let row = expert * params.outputs + first;
    let last = expert * params.outputs + min(first + 3, params.outputs - 1);
    return Quad(pair, expert, first, last >= params.row0 && row < params.row0 + params.rows);
}

// Returns the products with every `step`-th unit from `begin` on. Rows outside of this piece repeat its first or last row.
fn dots(quad: Quad, begin: u32, step: u32) -> vec4f {
    if quad.expert >= params.experts {
        return vec4f();
    }
    let rows = min(vec4u(quad.first) + vec4u(0, 1, 2, 3), vec4u(params.outputs - 1)) + quad.expert * params.outputs;
    let inside = clamp(rows, vec4u(params.row0), vec4u(params.row0 + params.rows - 1)) - params.row0;
    let a_place = weight_row(inside.x);
    let b_place = weight_row(inside.y);
    let c_place = weight_row(inside.z);
    let d_place = weight_row(inside.w);
    let x_place = x_row(quad.pair / params.share);
    let units = (params.width + 7) / 8;
    var sums = vec4f();
    for (var unit = begin; unit < units; unit += step) {
        let a = weight8_at(a_place, unit);
        let b = weight8_at(b_place, unit);
        let c = weight8_at(c_place, unit);
        let d = weight8_at(d_place, unit);
        let k = unit_start(unit);
        sums += x4_at(x_place, k) * mat4x4f(a.near, b.near, c.near, d.near);
        sums += x4_at(x_place, k + FAR) * mat4x4f(a.far, b.far, c.far, d.far);
    }
    return sums;
}

// Writes product `i` of a quad, if its row is in this piece.
fn write(quad: Quad, i: u32, product: f32) {
    let n = quad.first + i;
    if n >= params.outputs {
        return;
    }
    let at = params.y_start + quad.pair * params.y_stride + n;
    if quad.expert >= params.experts {
        y[at] = 0.0;
        return;
    }
    let row = quad.expert * params.outputs + n;
    if row >= params.row0 && row < params.row0 + params.rows {
        y[at] = product + bias_of(row);
    }
}
