// Without a gate nothing decays.

fn since_of(row: u32, i: u32) -> vec4f {
    return vec4f(1);
}

fn until_of(row: u32, last: u32, i: u32) -> vec4f {
    return vec4f(1);
}
