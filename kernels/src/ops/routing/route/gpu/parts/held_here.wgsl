// Held members in workgroup memory.

@group(0) @binding(0) var<storage, read> keys: array<u32>;

var<workgroup> held_keys: array<u32, W>;
var<workgroup> held_tokens: array<u32, W>;
var<workgroup> held_places: array<u32, W>;

fn held_key(list: u32, i: u32) -> u32 {
    return held_keys[i];
}

fn held_token(list: u32, i: u32) -> u32 {
    return held_tokens[i];
}

fn held_place(list: u32, i: u32) -> u32 {
    return held_places[i];
}

// Stores a key with its token and its place.
fn hold(list: u32, i: u32, key: u32, owner: vec2u) {
    held_keys[i] = key;
    held_tokens[i] = owner.x;
    held_places[i] = owner.y;
}

// Barrier: makes held members visible to all lanes.
fn held_barrier() {
    workgroupBarrier();
}
