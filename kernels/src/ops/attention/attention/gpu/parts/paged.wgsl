@group(0) @binding(TABLE_BINDING) var<storage, read> table: array<u32>;

// Returns the row of key `key` of sequence `b`, in k and in v. A page holds 2^page_shift rows.
fn key_row(b: u32, key: u32) -> u32 {
    let page = table[params.table_start + b * params.table_width + (key >> params.page_shift)];
    let offset = key & ((1u << params.page_shift) - 1);
    return (min(page, params.pages - 1) << params.page_shift) + offset;
}

fn keys_of(b: u32) -> u32 {
    return params.keys;
}
