// Tiles of 64 outputs and some tokens. Consecutive workgroups share weights.

struct Tile {
    token0: u32,
    // Tokens and outputs in front of an end.
    tokens: u32,
    row0: u32,
    rows: u32,
    // False for a workgroup past the last tile.
    here: bool,
}

fn tile_at(index: u32, tokens: u32) -> Tile {
    let token_tiles = (params.tokens + tokens - 1) / tokens;
    let row0 = index / token_tiles * 64;
    return Tile(index % token_tiles * tokens, params.tokens, row0, params.rows, row0 < params.rows);
}

// Tokens and rows past an end repeat the last one.
fn x_place(tile: Tile, token: u32) -> u32 {
    return x_row(min(token, tile.tokens - 1));
}

fn weight_place(tile: Tile, row: u32) -> u32 {
    return weight_row(min(row, tile.rows - 1));
}

fn put(tile: Tile, token: u32, row: u32, value: f32) {
    write(token, row, value);
}
