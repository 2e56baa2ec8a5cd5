// What a centroid holds, behind the keys of all lists, where workgroup memory has no room for it.

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

// Holds a key with its token and its place.
fn hold(list: u32, i: u32, key: u32, owner: vec2u) {
    keys[held_at(list, 0, i)] = key;
    keys[held_at(list, 1, i)] = owner.x;
    keys[held_at(list, 2, i)] = owner.y;
}

// What was held is seen by all lanes.
fn held_barrier() {
    storageBarrier();
    workgroupBarrier();
}
