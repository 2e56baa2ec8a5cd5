// Sums the loss, in one workgroup.

struct Params {
    lists: u32,
    scale: f32,
    loss_start: u32,
}

@group(0) @binding(0) var<storage, read> losses: array<f32>;
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

const GROUP = 64u;

var<workgroup> shares: array<f32, GROUP>;

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
    var own = 0.0;
    for (var i = lane; i < params.lists; i += GROUP) {
        own += losses[i];
    }
    shares[lane] = own;
    workgroupBarrier();
    if lane == 0 {
        var all = 0.0;
        for (var i = 0u; i < GROUP; i += 1) {
            all += shares[i];
        }
        loss[params.loss_start] = params.scale * all;
    }
}
