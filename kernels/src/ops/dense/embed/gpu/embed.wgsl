// out[t] = scale * weight[ids[t]], or the same added to out[t]: one invocation per 4 weights of a token.
//
// A pass binds `rows` rows of the table from `row0` on and writes only tokens whose ids are among them. The pass with
// row 0 also clears tokens whose ids are outside of the table.

struct Params {
    tokens: u32,
    vocab: u32,
    rows: u32,
    row0: u32,
    width: u32,
    scale: f32,
    ids_start: u32,
    weight_start: u32,
    out_start: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    let quads = (params.width + 3) / 4;
    let token = index / quads;
    if token >= params.tokens {
        return;
    }
    let id = ids[params.ids_start + token];
    let inside = id >= params.row0 && id - params.row0 < params.rows;
    let clears = !ACCUMULATE && params.row0 == 0 && id >= params.vocab;
    if !inside && !clears {
        return;
    }
    let k = index % quads * 4;
    var values = vec4f();
    if inside {
        values = params.scale * weight4(id - params.row0, k);
    }
    let at = params.out_start + token * params.width + k;
    for (var i = 0u; i < min(4, params.width - k); i++) {
        if ACCUMULATE {
            out[at + i] += values[i];
        } else {
            out[at + i] = values[i];
        }
    }
}
