// Returns four channels of a row: G, E, K and Q.
fn channels(row: u32, d: u32) -> mat4x4f {
    let at = 4 * (row * K4 + d);
    return transpose(mat4x4f(vectors[at], vectors[at + 1], vectors[at + 2], vectors[at + 3]));
}
