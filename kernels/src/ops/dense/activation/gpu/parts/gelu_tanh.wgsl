fn f(x: f32) -> f32 {
    // tanh is 1 in f32 beyond 10, and some devices overflow there.
    let inner = clamp(0.7978845608 * (x + 0.044715 * x * x * x), -10.0, 10.0);
    return 0.5 * x * (1.0 + tanh(inner));
}
