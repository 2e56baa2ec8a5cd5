// A workgroup owns a token: its lanes divide the experts, and each choice is one scan. Workgroup memory: 3 PLACES + 2
// GROUP words.

struct Params {
    tokens: u32,
    experts: u32,
    chosen: u32,
    groups: u32,
    kept: u32,
    group_best: u32,
    eps: f32,
    least: f32,
    scale: f32,
    near: f32,
    logits_start: u32,
    correction_start: u32,
    ids_start: u32,
    weights_start: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(IDS) var<storage, read_write> ids: array<u32>;
@group(0) @binding(IDS + 1) var<storage, read_write> weights: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

// Below everything that is compared: an expert that cannot be chosen.
const GONE = -3.4e38;
// The least number that is compared.
const LEAST = -3.3e38;

var<workgroup> scores: array<f32, PLACES>;
// What experts are compared by, or GONE.
var<workgroup> compared: array<f32, PLACES>;
var<workgroup> group_scores: array<f32, PLACES>;
// The largest value and its index, of each lane.
var<workgroup> best_values: array<f32, GROUP>;
var<workgroup> best_indices: array<u32, GROUP>;

fn sum_of_lanes(value: f32, lane: u32) -> f32 {
    workgroupBarrier();
    best_values[lane] = value;
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < GROUP; i += 1) {
        sum += best_values[i];
    }
    return sum;
}

// Returns the expert with the largest `compared`, the first of equals, to every lane.
fn best_left(lane: u32) -> u32 {
    var value = GONE;
    var index = PLACES;
    for (var e = lane; e < params.experts; e += GROUP) {
        if compared[e] != GONE && (index == PLACES || compared[e] > value) {
            value = compared[e];
            index = e;
        }
    }
    workgroupBarrier();
    best_values[lane] = value;
    best_indices[lane] = index;
    workgroupBarrier();
    value = GONE;
    index = PLACES;
    for (var i = 0u; i < GROUP; i += 1) {
        let other = best_indices[i];
        let better = best_values[i] > value || (best_values[i] == value && other < index);
        if other < PLACES && (index == PLACES || better) {
            value = best_values[i];
            index = other;
        }
    }
    return min(index, params.experts - 1);
}

// Returns the sum of the largest one or two scores of a group.
fn score_of_group(group: u32) -> f32 {
    let size = params.experts / params.groups;
    var first = GONE;
    var second = GONE;
    for (var i = 0u; i < size; i += 1) {
        let e = group * size + i;
        let value = select(compared[e], scores[e], params.group_best == 2 && !CORRECTED);
        if value > first {
            second = first;
            first = value;
        } else if value > second {
            second = value;
        }
    }
    return select(first, first + second, params.group_best == 2 && size > 1);
}

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let token = group.y * groups.x + group.x;
    if token >= params.tokens {
        return;
    }
    let start = params.logits_start + token * params.experts;
    for (var e = lane; e < params.experts; e += GROUP) {
        let logit = logits[start + e];
        scores[e] = select(logit, 1.0 / (1.0 + exp(min(-logit, 80.0))), SIGMOID);
        compared[e] = max(logit, LEAST);
    }
    if SOFTMAX {
        let largest = compared[best_left(lane)];
        var part = 0.0;
        for (var e = lane; e < params.experts; e += GROUP) {
            scores[e] = exp(scores[e] - largest);
            part += scores[e];
        }
        let sum = sum_of_lanes(part, lane);
        for (var e = lane; e < params.experts; e += GROUP) {
            scores[e] /= sum;
        }
    }
    if CORRECTED {
        // Barrier: lanes may still be reading what is compared.
        workgroupBarrier();
        for (var e = lane; e < params.experts; e += GROUP) {
            compared[e] = max(corrected(scores[e], e), LEAST);
        }
    }
    if GROUPED {
        workgroupBarrier();
        for (var g = lane; g < params.groups; g += GROUP) {
            group_scores[g] = score_of_group(g);
        }
        workgroupBarrier();
        let size = params.experts / params.groups;
        for (var e = lane; e < params.experts; e += GROUP) {
            let own = group_scores[e / size];
            var before = 0u;
            for (var g = 0u; g < params.groups; g += 1) {
                let other = group_scores[g];
                before += select(0u, 1u, other > own || (other == own && g < e / size));
            }
            compared[e] = select(GONE, compared[e], before < params.kept);
        }
    }
    let out = token * params.chosen;
    var sum = 0.0;
    var largest = 0.0;
    for (var j = 0u; j < params.chosen; j += 1) {
        let i = best_left(lane);
        var weight = scores[i];
        if MIXER {
            var part = 0.0;
            for (var e = lane; e < params.experts; e += GROUP) {
                let distance = weight - scores[e];
                if compared[e] != GONE && distance <= params.near * max(abs(scores[e]), weight) {
                    part += exp(-distance);
                }
            }
            weight = 1.0 / sum_of_lanes(part, lane);
        }
        if CHOSEN {
            if j == 0 {
                largest = weight;
            }
            weight = exp(weight - largest);
        }
        sum += weight;
        // No other lane reads what this expert is compared by.
        if lane == i % GROUP {
            compared[i] = GONE;
        }
        if lane == 0 {
            ids[params.ids_start + out + j] = i;
            weights[params.weights_start + out + j] = weight;
        }
    }
    if lane != 0 {
        return;
    }
    var factor = params.scale;
    if CHOSEN {
        factor /= sum;
        sum = 1.0;
    }
    if NORMALIZE {
        factor /= max(sum + params.eps, params.least);
    }
    for (var j = 0u; j < params.chosen; j += 1) {
        weights[params.weights_start + out + j] *= factor;
    }
}
