fn f(x: f32) -> f32 {
    // exp(-x) is kept finite: a large negative x gives -0.
    return x / (1.0 + exp(min(-x, 80.0)));
}
