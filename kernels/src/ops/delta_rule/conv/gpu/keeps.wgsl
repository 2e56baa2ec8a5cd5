// Each invocation stores one channel of a sequence's state.
fn invocation(index: u32) {
    let n = index / params.channels;
    if n >= params.sequences || slot_of(n) >= params.slots {
        return;
    }
    keep(n, tokens_of(n), index % params.channels);
}
