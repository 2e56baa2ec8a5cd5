// The id that is written: the reserved one if the largest key is that of NaN or +infinity, or if no key stands for a token.

const LARGEST_KEY = 0xff7fffffu;
const NOT_FINITE = 0xffffffffu;

fn chosen_or_not_finite(id: u32, largest: u32) -> u32 {
    return select(id, NOT_FINITE, largest == 0 || largest > LARGEST_KEY);
}
