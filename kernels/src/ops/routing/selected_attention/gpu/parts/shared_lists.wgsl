fn key_member(index: u32) -> u32 {
    return 0;
}

fn key_range(index: u32) -> u32 {
    let at = params.ranges_start + index / 2 * 2;
    return min(ranges[at + index % 2], min(ranges[at + 1], params.most));
}
