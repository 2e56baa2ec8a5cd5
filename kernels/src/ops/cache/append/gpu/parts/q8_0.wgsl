// A unit is two Q8_0 blocks of f16 d and 32 signed bytes, 17 words. d = max |x| / 127, and x / d rounds to the nearest
// integer, halves away from 0.

const POOL = 17u;

fn code(bits: u32, inverse: f32) -> u32 {
    let x = bitcast<f32>(bits) * inverse;
    let whole = trunc(abs(x));
    let size = whole + select(0.0, 1.0, abs(x) - whole >= 0.5);
    return u32(i32(select(size, -size, x < 0))) & 0xff;
}

fn append(values: bool, token: u32, to: u32, i: u32) {
    var word = 0u;
    for (var block = 0u; block < 2; block += 1) {
        let first = 64 * i + 32 * block;
        var largest = 0.0;
        for (var n = 0u; n < 32; n += 1) {
            largest = max(largest, abs(bitcast<f32>(element(values, token, first + n))));
        }
        let d = largest / 127;
        let inverse = select(0.0, 1 / d, d > 0);
        for (var n = 0u; n < 17; n += 1) {
            var bits = half_bits(bitcast<u32>(d));
            if n > 0 {
                let at = first + 2 * (n - 1);
                bits = code(element(values, token, at), inverse) | (code(element(values, token, at + 1), inverse) << 8);
            }
            let place = 17 * block + n;
            if place % 2 == 0 {
                word = bits;
            } else {
                store(values, to + 17 * i + place / 2, word | (bits << 16));
            }
        }
    }
}
