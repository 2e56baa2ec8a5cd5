fn first_of(unit: u32) -> u32 {
    return 0;
}
