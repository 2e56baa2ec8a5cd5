// Parameters of a pass over a range of centroids of every head.

struct Params {
    units: u32,
    heads: u32,
    tokens: u32,
    clusters: u32,
    first_cluster: u32,
    all_clusters: u32,
    entries: u32,
    window: u32,
    members_start: u32,
    ranges_start: u32,
    until_start: u32,
    lengths_start: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

// Returns the centroid of a list.
fn cluster_of(list: u32) -> u32 {
    return params.first_cluster + list % params.clusters;
}

// Returns the offset of a list's range.
fn range_of(list: u32) -> u32 {
    return params.ranges_start + 2 * (list / params.clusters * params.all_clusters + cluster_of(list));
}
