// Returns the position of a head's query 0.
fn first_of(unit: u32) -> u32 {
    return lists[params.first + unit / params.heads];
}
