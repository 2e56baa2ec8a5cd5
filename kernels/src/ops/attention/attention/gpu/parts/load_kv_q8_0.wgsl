// Rows of k and v in Q8_0 blocks of 17 half-words: f16 d, then 32 signed bytes, which d multiplies. Offsets count
// half-words. A vector is two half-words; at an odd offset they straddle two words.

const BLOCK = 17u;

@group(0) @binding(1) var<storage, read> k: array<u32>;
@group(0) @binding(2) var<storage, read> v: array<u32>;

fn signed_bytes(word: u32) -> vec4f {
    return vec4f(bitcast<vec4i>(vec4u(word << 24, word << 16, word << 8, word)) >> vec4u(24));
}

// Returns the f16 at offset `place`, given the word that holds it.
fn half_of(word: u32, place: u32) -> f32 {
    let two = unpack2x16float(word);
    return select(two.x, two.y, (place & 1) == 1);
}

// Returns the 32 bits at offset `place`, given the words that hold its two halves.
fn joined(low: u32, high: u32, place: u32) -> u32 {
    return select(low, (low >> 16) | (high << 16), (place & 1) == 1);
}

fn load_k(row: u32, i: u32) -> vec4f {
    let block = row + i / 8 * BLOCK;
    let at = block + 1 + i % 8 * 2;
    return half_of(k[block / 2], block) * signed_bytes(joined(k[at / 2], k[(at + 1) / 2], at));
}

fn load_v(row: u32, i: u32) -> vec4f {
    let block = row + i / 8 * BLOCK;
    let at = block + 1 + i % 8 * 2;
    return half_of(v[block / 2], block) * signed_bytes(joined(v[at / 2], v[(at + 1) / 2], at));
}
