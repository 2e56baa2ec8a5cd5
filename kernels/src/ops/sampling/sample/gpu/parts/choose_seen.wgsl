@group(0) @binding(1) var<storage, read_write> seen: array<u32>;
@group(0) @binding(2) var<storage, read_write> token: array<u32>;

fn choose(id: u32) {
    token[params.token_start] = id;
    if id != NOT_FINITE {
        seen[params.seen_start + id / 32] |= 1u << (id % 32);
    }
}
