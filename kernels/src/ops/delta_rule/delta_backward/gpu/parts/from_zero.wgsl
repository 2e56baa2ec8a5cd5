fn begin(at: u32, d: u32, column: u32) -> vec4f {
    return vec4f();
}
