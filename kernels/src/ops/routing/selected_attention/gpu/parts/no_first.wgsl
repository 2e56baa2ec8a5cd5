fn first_position(index: u32) -> u32 {
    return 0;
}
