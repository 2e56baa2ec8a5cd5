fn move_element(at: u32, weight: vec4f, sum: f32) {
    let i = params.centroids_start + at;
    centroids[i] = weight.x * centroids[i] + weight.y * sum;
}
