@group(0) @binding(LENGTHS_BINDING) var<storage, read> lengths: array<u32>;

// Returns the places of an ascending list whose tokens are below their sequence's length.
fn inside(unit: u32, places: vec2u) -> vec2u {
    let length = lengths[params.lengths_start + unit / params.heads];
    var low = places.x;
    var high = places.y;
    while low < high {
        let middle = low + (high - low) / 2;
        if members[params.members_start + unit * params.tokens + middle] < length {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return vec2u(places.x, low);
}
