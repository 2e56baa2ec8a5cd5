// Adds one row of four times a 4 x 4 matrix.
fn add4(sum: vec4f, a: vec4f, m: mat4x4f) -> vec4f {
    return a.w * m[3] + (a.z * m[2] + (a.y * m[1] + (a.x * m[0] + sum)));
}
