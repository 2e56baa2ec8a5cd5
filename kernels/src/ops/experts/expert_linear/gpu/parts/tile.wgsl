// Tiles of 64 outputs and some pairs of one expert, from the list of a sorting pass: `order` holds the pairs, one expert
// behind the other, and behind them the expert, the first and the last pair of every tile.

@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(Y) var<storage, read_write> y: array<f32>;

struct Tile {
    token0: u32,
    // Pairs and outputs in front of an end.
    tokens: u32,
    row0: u32,
    rows: u32,
    // False for a place of the list without a tile, and where this piece has none of the rows.
    here: bool,
    expert: u32,
}

fn tile_at(index: u32, tokens: u32) -> Tile {
    let row_tiles = (params.outputs + 63) / 64;
    let place = index / row_tiles;
    if place >= params.tiles {
        return Tile(0, 0, 0, 0, false, 0);
    }
    let at = params.pairs + 3 * place;
    let expert = order[at];
    let begin = order[at + 1];
    let end = order[at + 2];
    let row0 = index % row_tiles * 64;
    var here = begin < end;
    if expert < params.experts {
        let first = expert * params.outputs + row0;
        let last = expert * params.outputs + min(row0 + 63, params.outputs - 1);
        here = here && last >= params.row0 && first < params.row0 + params.rows;
    } else {
        // Zeros are written along with the first piece.
        here = here && params.row0 == 0;
    }
    return Tile(begin, end, row0, params.outputs, here, expert);
}

// Pairs past an end repeat the last one, rows outside of this piece its first or last one.
fn x_place(tile: Tile, token: u32) -> u32 {
    return x_row(order[min(token, tile.tokens - 1)] / params.share);
}

fn weight_place(tile: Tile, row: u32) -> u32 {
    let all = min(tile.expert, params.experts - 1) * params.outputs + min(row, tile.rows - 1);
    return weight_row(clamp(all, params.row0, params.row0 + params.rows - 1) - params.row0);
}

fn put(tile: Tile, token: u32, n: u32, value: f32) {
    let at = params.y_start + order[token] * params.y_stride + n;
    if tile.expert >= params.experts {
        y[at] = 0.0;
        return;
    }
    let row = tile.expert * params.outputs + n;
    if row >= params.row0 && row < params.row0 + params.rows {
        y[at] = value + bias_of(row);
    }
}
