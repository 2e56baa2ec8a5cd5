// Sets the lse of a place without visible keys.
@group(0) @binding(LSE_BINDING) var<storage, read_write> lse: array<f32>;

fn clear(place: u32) {
    lse[params.lse_start + place] = -3.0e38;
}
