// Precomputes the members of `Sequence` in params.wgsl for the tile passes, one invocation per sequence.

struct Params {
    batch: u32,
    queries: u32,
    keys: u32,
    // Packed only: rows of q, and rows of k and v.
    q_rows: u32,
    k_rows: u32,
    // Offset of the sequence table behind the rows.
    sequences: u32,
    cu_q_start: u32,
    cu_k_start: u32,
    lengths_start: u32,
}

@group(0) @binding(0) var<storage, read_write> rows: array<vec4u>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index < params.batch {
        rows[params.sequences + index] =
            vec4u(first_query(index), queries_of(index), key_row(index, 0), length_of(index));
    }
}
