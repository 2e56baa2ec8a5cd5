// The first channel of a channel's part, the part's channels and its function.
fn part_of(c: u32) -> vec3u {
    if c >= params.third {
        return vec3u(params.third, params.channels - params.third, THIRD);
    }
    if c >= params.second {
        return vec3u(params.second, params.third - params.second, SECOND);
    }
    return vec3u(0, params.second, FIRST);
}
