fn f(x: f32) -> f32 {
    // The clamp keeps exp(-x) finite.
    return 1.0 / (1.0 + exp(min(-x, 80.0)));
}
