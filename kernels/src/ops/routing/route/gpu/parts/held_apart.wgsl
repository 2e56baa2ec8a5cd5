// Held members in scratch, after the keys of all lists, if workgroup memory is too small.

@group(0) @binding(0) var<storage, read_write> keys: array<u32>;

fn held_at(list: u32, word: u32, i: u32) -> u32 {
    return params.units * params.clusters * params.tokens + (3 * list + word) * W + i;
}

fn held_key(list: u32, i: u32) -> u32 {
    return keys[held_at(list, 0, i)];
}

fn held_token(list: u32, i: u32) -> u32 {
    return keys[held_at(list, 1, i)];
}

fn held_place(list: u32, i: u32) -> u32 {
    return keys[held_at(list, 2, i)];
}

// Stores a key with its token and its place.
fn hold(list: u32, i: u32, key: u32, owner: vec2u) {
    keys[held_at(list, 0, i)] = key;
    keys[held_at(list, 1, i)] = owner.x;
    keys[held_at(list, 2, i)] = owner.y;
}

// Barrier: makes held members visible to all lanes.
fn held_barrier() {
    storageBarrier();
    workgroupBarrier();
}
