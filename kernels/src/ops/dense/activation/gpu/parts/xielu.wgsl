fn f(x: f32) -> f32 {
    if x > 0.0 {
        return params.positive * x * x + params.linear * x;
    }
    let z = min(x, -params.limit);
    // exp(z) - 1 - z: its series near 0, where the difference cancels.
    var rest = exp(z) - 1.0 - z;
    if z > -0.5 {
        rest = z * z * (0.5 + z * (1.0 / 6.0 + z * (1.0 / 24.0 + z * (1.0 / 120.0 + z * (1.0 / 720.0 + z / 5040.0)))));
    }
    return params.negative * (rest + (z - x)) + params.linear * x;
}
