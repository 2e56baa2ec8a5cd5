fn time(index: u32) -> u32 {
    return 0;
}
