// Numbers of four codes below 16: bytes of TABLE, which have a sign.

fn numbers(codes: vec4u) -> vec4f {
    let second = (codes & vec4u(4)) != vec4u(0);
    let low = select(vec4u(TABLE.x), vec4u(TABLE.y), second);
    let high = select(vec4u(TABLE.z), vec4u(TABLE.w), second);
    let words = select(low, high, (codes & vec4u(8)) != vec4u(0));
    return vec4f(bitcast<vec4i>(words << (vec4u(24) - 8 * (codes & vec4u(3)))) >> vec4u(24));
}
