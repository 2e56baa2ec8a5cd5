// Returns the places of a list, clamped to those of its head.
fn list_of(list: u32) -> vec2u {
    let at = params.ranges_start + 2 * list;
    let end = min(ranges[at + 1], params.tokens);
    return inside(list / params.clusters, vec2u(min(ranges[at], end), end));
}
