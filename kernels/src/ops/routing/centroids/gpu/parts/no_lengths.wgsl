// Returns the places unchanged: without `lengths` all tokens count.
fn inside(unit: u32, places: vec2u) -> vec2u {
    return places;
}
