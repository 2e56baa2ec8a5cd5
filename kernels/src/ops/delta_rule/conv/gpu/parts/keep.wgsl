// Stores the last inputs of a sequence as its state. Ascending order allows the state to be updated in place.
fn keep(n: u32, tokens: vec2u, c: u32) {
    let history = params.window - 1;
    let count = tokens.y - tokens.x;
    for (var i = 0u; i < history; i += 1) {
        store(slot_of(n) * history * params.channels + i * params.channels + c, input(n, tokens, count + i, c));
    }
}
