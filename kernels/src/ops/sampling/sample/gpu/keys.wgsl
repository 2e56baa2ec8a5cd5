// Pass 1 of a draw: computes the key of every token, four per invocation; 0 past the last token.

@group(0) @binding(KEYS) var<storage, read_write> keys: array<vec4u>;

fn invocation(index: u32) {
    if index >= (params.vocab + 3) / 4 {
        return;
    }
    var four = vec4u();
    for (var i = 0u; i < min(4, params.vocab - 4 * index); i++) {
        four[i] = key_of(4 * index + i);
    }
    keys[index] = four;
}
