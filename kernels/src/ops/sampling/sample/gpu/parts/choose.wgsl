@group(0) @binding(1) var<storage, read_write> token: array<u32>;

fn choose(id: u32) {
    token[params.token_start] = id;
}
