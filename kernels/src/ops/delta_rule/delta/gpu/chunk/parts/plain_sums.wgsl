// No gate: all decays are 1.

fn since_of(row: u32, i: u32) -> vec4f {
    return vec4f(1);
}

fn until_of(row: u32, last: u32, i: u32) -> vec4f {
    return vec4f(1);
}

// Returns the decay shared by all channels of a token: 1.
fn since_row(row: u32) -> f32 {
    return 1.0;
}

fn until_row(row: u32, last: u32) -> f32 {
    return 1.0;
}
