// Returns the best (key, id) over GROUP lanes (a power of two) to every lane: larger keys first, then smaller ids.

var<workgroup> best: array<vec2u, GROUP>;

fn better(a: vec2u, b: vec2u) -> vec2u {
    return select(b, a, a.x > b.x || (a.x == b.x && a.y < b.y));
}

fn best_of_group(mine: vec2u, lane: u32) -> vec2u {
    best[lane] = mine;
    workgroupBarrier();
    for (var width = GROUP / 2; width > 0; width /= 2) {
        if lane < width {
            best[lane] = better(best[lane], best[lane + width]);
        }
        workgroupBarrier();
    }
    return best[0];
}
