fn f(x: f32) -> f32 {
    return clamp(x, -params.bound, params.bound);
}
