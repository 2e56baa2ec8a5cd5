// Parameters of the passes over the chunks of a piece.

struct Params {
    units: u32,
    // `tokens`: tokens of a sequence, or of all if packed. `first` and `count`: the piece's range of them.
    tokens: u32,
    first: u32,
    count: u32,
    // `sequences`: number of states. `each`: chunks per sequence if not packed.
    sequences: u32,
    each: u32,
    // Offsets from which the scan loads the state of a sequence cut by the previous piece, and to which it stores one.
    carry_from: u32,
    carry_to: u32,
    cu_start: u32,
    dout_start: u32,
    begin_start: u32,
    end_start: u32,
    // K padded, V / 4 and C as uniforms: an unknown trip count stops the
    // compiler from unrolling a loop into more registers than there are.
    channels: u32,
    columns: u32,
    most: u32,
}

@group(1) @binding(0) var<uniform> params: Params;
