fn along_of(share: vec2f, lane: u32) -> vec2f {
    return vec2f();
}
