// Rows of any length, decoded element by element with `element`; weights past the end of a row are 0. The code is free
// of branches because SwiftShader takes minutes and gigabytes to compile the branches once they are inlined.

const FAR = 4u;

struct Eight {
    near: vec4f,
    far: vec4f,
}

fn unit_start(unit: u32) -> u32 {
    return 8 * unit;
}

fn weight_row(row: u32) -> u32 {
    return row * params.width;
}

fn element_or_zero(place: u32, k: u32) -> f32 {
    return select(0.0, element(place + min(k, params.width - 1)), k < params.width);
}

fn four_at(place: u32, k: u32) -> vec4f {
    return vec4f(
        element_or_zero(place, k),
        element_or_zero(place, k + 1),
        element_or_zero(place, k + 2),
        element_or_zero(place, k + 3),
    );
}

fn weight4(row: u32, k: u32) -> vec4f {
    return four_at(weight_row(row), k);
}

fn weight8_at(place: u32, unit: u32) -> Eight {
    return Eight(four_at(place, 8 * unit), four_at(place, 8 * unit + 4));
}

fn weight8(row: u32, unit: u32) -> Eight {
    return weight8_at(weight_row(row), unit);
}
