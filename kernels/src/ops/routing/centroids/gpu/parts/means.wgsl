@group(0) @binding(6) var<storage, read_write> means: array<f32>;

fn move_element(at: u32, weight: vec4f, sum: f32) {
    let i = params.out_start + at;
    means[i] = weight.x * means[i] + weight.y * sum;
    centroids[params.centroids_start + at] = weight.z * means[i];
}
