// Common part of the selections: a workgroup owns a centroid of a head, and its lanes walk equal shares of the tokens.

const GROUP = 256u;

var<workgroup> sums: array<u32, GROUP>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let list = id.y * ids.x + id.x;
    if list < params.units * params.clusters {
        selection(list, lane);
    }
}

// Returns the inclusive prefix sum of `own` over the lanes.
fn running(own: u32, lane: u32) -> u32 {
    workgroupBarrier();
    sums[lane] = own;
    workgroupBarrier();
    for (var reach = 1u; reach < GROUP; reach *= 2) {
        let added = select(0u, sums[max(lane, reach) - reach], lane >= reach);
        workgroupBarrier();
        sums[lane] += added;
        workgroupBarrier();
    }
    return sums[lane];
}

// Returns the range of `count` items that belongs to a lane.
fn part(lane: u32, count: u32) -> vec2u {
    let width = (count + GROUP - 1) / GROUP;
    return min(vec2u(lane * width, (lane + 1) * width), vec2u(count));
}
