// Rows of any length, element by element through `element`; weights behind the end of a row are 0. Without branches:
// SwiftShader needs minutes and gigabytes to compile the many that would be inlined.

const FAR = 4u;

struct Eight {
    near: vec4f,
    far: vec4f,
}

fn unit_start(unit: u32) -> u32 {
    return 8 * unit;
}

fn element_or_zero(row: u32, k: u32) -> f32 {
    return select(0.0, element(row * params.width + min(k, params.width - 1)), k < params.width);
}

fn weight4(row: u32, k: u32) -> vec4f {
    return vec4f(
        element_or_zero(row, k),
        element_or_zero(row, k + 1),
        element_or_zero(row, k + 2),
        element_or_zero(row, k + 3),
    );
}

fn weight8(row: u32, unit: u32) -> Eight {
    return Eight(weight4(row, 8 * unit), weight4(row, 8 * unit + 4));
}
