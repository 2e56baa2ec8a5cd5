@group(0) @binding(LENGTHS_BINDING) var<storage, read> lengths: array<u32>;

// Returns the number of tokens of sequence b.
fn length_of(b: u32) -> u32 {
    return min(lengths[params.lengths_start + b], params.tokens);
}
