// Sums every token over its places, one invocation per element.

struct Params {
    units: u32,
    heads: u32,
    tokens: u32,
    clusters: u32,
    // Offsets of ranges and members in `lists`, and places per head.
    ranges: u32,
    members: u32,
    most: u32,
    // Offset of the gradients of places in `sums`.
    first: u32,
    out_start: u32,
}

@group(0) @binding(0) var<storage, read> lists: array<u32>;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index >= params.units * params.tokens * WIDTH {
        return;
    }
    let d = index % WIDTH;
    let token = index / WIDTH % params.tokens;
    let unit = index / WIDTH / params.tokens;
    var sum = 0.0;
    for (var c = 0u; c < params.clusters; c += 1) {
        let place = place_of(unit * params.clusters + c, params.ranges, params.members, params.most, token);
        if place != NOWHERE {
            sum += sums[params.first + place * WIDTH + d];
        }
    }
    let row = (unit / params.heads * params.tokens + token) * params.heads + unit % params.heads;
    out[params.out_start + row * WIDTH + d] = sum;
}
