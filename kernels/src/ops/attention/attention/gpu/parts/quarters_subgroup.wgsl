// Sums a dot product over four adjacent lanes that hold a quarter each.

const QUARTERS = 1u;

fn add_quarters(quarter: f32) -> f32 {
    let two = quarter + subgroupShuffleXor(quarter, 1u);
    return two + subgroupShuffleXor(two, 2u);
}
