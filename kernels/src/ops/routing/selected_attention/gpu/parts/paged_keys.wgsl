@group(0) @binding(TABLE_BINDING) var<storage, read> table: array<u32>;

// Returns the row of a key in pages of 2^page_shift rows; an invalid token is clamped.
fn key_row(unit: u32, token: u32) -> u32 {
    let key = min(token, params.key_tokens - 1);
    let page = table[params.table_start + unit / params.heads * params.table_width + (key >> params.page_shift)];
    let row = (min(page, params.pages - 1) << params.page_shift) + (key & ((1u << params.page_shift) - 1));
    return row * params.heads + unit % params.heads;
}
