// The product of a key, from four lanes that have a quarter each.

const QUARTERS = 4u;

fn add_quarters(quarter: f32) -> f32 {
    return quarter;
}
