// Rows of values, and the pool that they are stored in. Entries of both have the type of those of keys.

@group(0) @binding(3) var<storage, read> v: array<Element>;
@group(0) @binding(4) var<storage, read_write> v_pool: array<Element>;

fn value(token: u32, n: u32) -> Element {
    return v[params.v_start + token * params.v_stride + n];
}

fn store_value(at: u32, entry: Element) {
    v_pool[at] = entry;
}
