// Returns (first channel, number of channels, activation) of the part that contains channel `c`.
fn part_of(c: u32) -> vec3u {
    if c >= params.third {
        return vec3u(params.third, params.channels - params.third, THIRD);
    }
    if c >= params.second {
        return vec3u(params.second, params.third - params.second, SECOND);
    }
    return vec3u(0, params.second, FIRST);
}
