// Rows of k and v as vectors of four f16, unpacked from two words.

@group(0) @binding(1) var<storage, read> k: array<vec2u>;
@group(0) @binding(2) var<storage, read> v: array<vec2u>;

fn load_k(row: u32, i: u32) -> vec4f {
    let words = k[row + i];
    return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
}

fn load_v(row: u32, i: u32) -> vec4f {
    let words = v[row + i];
    return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
}
