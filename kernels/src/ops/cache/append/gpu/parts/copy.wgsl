// Copies rows unchanged: `Element` is f32 or vec4f.

const POOL = 1u;

@group(0) @binding(1) var<storage, read> k: array<Element>;
@group(0) @binding(2) var<storage, read_write> k_pool: array<Element>;

fn append(values: bool, token: u32, to: u32, i: u32) {
    if values {
        store_value(to + i, value(token, i));
    } else {
        k_pool[to + i] = key(token, i);
    }
}
