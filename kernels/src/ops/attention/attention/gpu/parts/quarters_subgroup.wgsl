// The product of a key, from four lanes next to each other that have a quarter each.

const QUARTERS = 1u;

fn add_quarters(quarter: f32) -> f32 {
    let two = quarter + subgroupShuffleXor(quarter, 1u);
    return two + subgroupShuffleXor(two, 2u);
}
