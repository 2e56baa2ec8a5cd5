fn norm4(k: u32) -> vec4f {
    return vec4f(1.0);
}

fn inverses(squares: vec4f) -> vec4f {
    return vec4f(1.0);
}
