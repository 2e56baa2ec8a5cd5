// Of the passes over chunks of a piece of the tokens.

struct Params {
    units: u32,
    // Tokens of a sequence, packed of all; and which of them the piece has.
    tokens: u32,
    first: u32,
    count: u32,
    // States of all sequences, chunks of one that is not packed.
    sequences: u32,
    each: u32,
    // Where the scan finds the state of a sequence that the piece before cut, and where it leaves one.
    carry_from: u32,
    carry_to: u32,
    cu_start: u32,
    dout_start: u32,
    begin_start: u32,
    end_start: u32,
    // K padded, V / 4 and C again: loops whose turns the compiler does not know are not unrolled into more registers than
    // there are.
    channels: u32,
    columns: u32,
    most: u32,
}

@group(1) @binding(0) var<uniform> params: Params;
