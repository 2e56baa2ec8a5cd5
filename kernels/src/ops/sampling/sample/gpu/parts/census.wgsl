// Queries over all keys: the number of tokens, or their probability,
// at or above a key. Lanes stride over the keys 16 bytes at a time.

@group(0) @binding(0) var<storage, read> keys: array<vec4u>;

var<workgroup> counts: array<atomic<u32>, 4>;

// Returns the probability relative to the likeliest token, whose z is `top`. Every value that f64 distinguishes from 0
// is positive here too, so a `random` of 0 takes the first such token. The halves avoid overflow: the difference of
// two f32 may exceed the largest f32.
// A key that stands for no token has probability 0.
fn probability(key: vec4u, top: f32) -> vec4f {
    let z = bitcast<vec4f>(select(~key, key & vec4u(0x7fffffff), key >= vec4u(0x80000000)));
    let below = min(0.5 * top - 0.5 * z, vec4f(params.reach)) / params.half_temperature;
    return select(vec4f(), max(exp(-below), vec4f(1e-30)), (below < vec4f(745)) & (key >= vec4u(0x00800000)));
}

// Returns the largest key.
fn likeliest(lane: u32) -> u32 {
    var most = vec4u();
    for (var i = lane; i < params.quads; i += GROUP) {
        most = max(most, keys[i]);
    }
    if lane == 0 {
        atomicStore(&counts[0], 0u);
    }
    workgroupBarrier();
    atomicMax(&counts[0], max(max(most.x, most.y), max(most.z, most.w)));
    workgroupBarrier();
    let key = atomicLoad(&counts[0]);
    workgroupBarrier();
    return key;
}

// Counts the tokens with a key of at least each element of `least`, none of which is 0.
fn count(least: vec4u, lane: u32) -> vec4u {
    var mine = vec4u();
    for (var i = lane; i < params.quads; i += GROUP) {
        let key = keys[i];
        for (var j = 0u; j < 4; j++) {
            mine += select(vec4u(0), vec4u(1), vec4u(key[j]) >= least);
        }
    }
    if lane < 4 {
        atomicStore(&counts[lane], 0u);
    }
    workgroupBarrier();
    for (var j = 0u; j < 4; j++) {
        atomicAdd(&counts[j], mine[j]);
    }
    workgroupBarrier();
    let all = vec4u(atomicLoad(&counts[0]), atomicLoad(&counts[1]), atomicLoad(&counts[2]), atomicLoad(&counts[3]));
    workgroupBarrier();
    return all;
}

// Returns the probability of the tokens that `count` would count. Partial
// sums of 32 terms keep the error near that of a single addition.
fn mass(least: vec4u, top: f32, lane: u32) -> vec4f {
    var mine = vec4f();
    for (var first = lane; first < params.quads; first += 8 * GROUP) {
        var some = vec4f();
        for (var i = first; i < min(first + 8 * GROUP, params.quads); i += GROUP) {
            let key = keys[i];
            let p = probability(key, top);
            let a = select(vec4f(), vec4f(p.x), vec4u(key.x) >= least);
            let b = select(vec4f(), vec4f(p.y), vec4u(key.y) >= least);
            let c = select(vec4f(), vec4f(p.z), vec4u(key.z) >= least);
            let d = select(vec4f(), vec4f(p.w), vec4u(key.w) >= least);
            some += (a + b) + (c + d);
        }
        mine += some;
    }
    return reduce_sum4(mine, lane);
}
