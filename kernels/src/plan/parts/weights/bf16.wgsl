fn halves(word: u32) -> vec2f {
    return vec2f(bitcast<f32>(word << 16), bitcast<f32>(word & 0xffff0000));
}
