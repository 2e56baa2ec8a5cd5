// `scan.wgsl` for software drivers, without workgroup memory or barriers. A workgroup owns the state of a value head
// of a sequence, a lane all rows of column vectors lane, lane + GROUP, .. The state is split into four arrays and
// functions take one of them, because a compiler keeps an array in registers only if every loop over it is unrolled.

const STEP = VALUE_HEADS * ROW;
// Key vectors per array.
const PART = 8 / WIDE;

// [4 PART, WIDE]
alias Rows = array<vec4f, 32>;
alias Columns = array<vec4f, WIDE>;

fn load(rows: ptr<function, Rows>, part: u32, at: u32, column: u32) {
    for (var i = 0u; i < 32; i += 1) {
        let k = 4 * PART * part + i / WIDE;
        let v = 4 * (column + GROUP * (i % WIDE));
        (*rows)[i] = vec4f();
        for (var c = 0u; c < 4; c += 1) {
            if k < K && v + c < V {
                (*rows)[i][c] = states[at + k * V + v + c];
            }
        }
    }
}

fn store(rows: ptr<function, Rows>, part: u32, at: u32, column: u32) {
    for (var i = 0u; i < 32; i += 1) {
        let k = 4 * PART * part + i / WIDE;
        let v = 4 * (column + GROUP * (i % WIDE));
        for (var c = 0u; c < 4; c += 1) {
            if k < K && v + c < V {
                states[at + k * V + v + c] = (*rows)[i][c];
            }
        }
    }
}

// Subtracts from `update` the product of the state rows with a token's W.
fn subtract(rows: ptr<function, Rows>, part: u32, at: u32, update: ptr<function, Columns>) {
    for (var i = 0u; i < PART; i += 1) {
        if PART * part + i < K4 {
            let x = vectors[at + READ + PART * part + i];
            for (var w = 0u; w < WIDE; w += 1) {
                let r = 4 * WIDE * i + w;
                (*update)[w] -= x.x * (*rows)[r];
                (*update)[w] -= x.y * (*rows)[r + WIDE];
                (*update)[w] -= x.z * (*rows)[r + 2 * WIDE];
                (*update)[w] -= x.w * (*rows)[r + 3 * WIDE];
            }
        }
    }
}

// Stores the rows as the state before the chunk, and decays them.
fn keep(rows: ptr<function, Rows>, part: u32, to: u32, last: u32) {
    for (var i = 0u; i < PART; i += 1) {
        let k = PART * part + i;
        if k < K4 {
            let decay = since_of(last, k);
            for (var r = 0u; r < 4 * WIDE; r += 1) {
                before[to + (4 * k + r / WIDE) * V4 + GROUP * (r % WIDE)] = (*rows)[4 * WIDE * i + r];
                (*rows)[4 * WIDE * i + r] *= decay[r / WIDE];
            }
        }
    }
}

fn add(rows: ptr<function, Rows>, part: u32, at: u32, update: ptr<function, Columns>) {
    for (var i = 0u; i < PART; i += 1) {
        if PART * part + i < K4 {
            let key = vectors[at + KEY + PART * part + i];
            for (var w = 0u; w < WIDE; w += 1) {
                let r = 4 * WIDE * i + w;
                (*rows)[r] += key.x * (*update)[w];
                (*rows)[r + WIDE] += key.y * (*update)[w];
                (*rows)[r + 2 * WIDE] += key.z * (*update)[w];
                (*rows)[r + 3 * WIDE] += key.w * (*update)[w];
            }
        }
    }
}

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = id.y * ids.x + id.x;
    if unit >= params.units {
        return;
    }
    let head = unit % VALUE_HEADS;
    let n = unit / VALUE_HEADS;
    let span = span_of(n);
    let slot = slot_of(n);
    if slot >= params.slots || span.x == span.y {
        return;
    }
    let kept = params.states_start + (slot * VALUE_HEADS + head) * K * V;
    var a: Rows;
    var b: Rows;
    var c: Rows;
    var d: Rows;
    load(&a, 0, kept, lane);
    load(&b, 1, kept, lane);
    load(&c, 2, kept, lane);
    load(&d, 3, kept, lane);
    var place = first_place(n) * VALUE_HEADS + head;
    for (var first = span.x; first < span.y; first += TOKENS) {
        let tokens = min(TOKENS, span.y - first);
        let rows = row_of(n, first, head) * ROW;
        for (var t = 0u; t < tokens; t += 1) {
            let at = rows + t * STEP;
            var update: Columns;
            for (var w = 0u; w < WIDE; w += 1) {
                update[w] = vectors[at + WRITTEN + lane + GROUP * w];
            }
            subtract(&a, 0, at, &update);
            subtract(&b, 1, at, &update);
            subtract(&c, 2, at, &update);
            subtract(&d, 3, at, &update);
            for (var w = 0u; w < WIDE; w += 1) {
                vectors[at + WRITTEN + lane + GROUP * w] = update[w];
            }
        }
        let last = rows + (tokens - 1) * STEP;
        let to = place * 4 * K4 * V4 + lane;
        keep(&a, 0, to, last);
        keep(&b, 1, to, last);
        keep(&c, 2, to, last);
        keep(&d, 3, to, last);
        for (var t = 0u; t < tokens; t += 1) {
            let at = rows + t * STEP;
            var update: Columns;
            for (var w = 0u; w < WIDE; w += 1) {
                update[w] = until_row(at, last) * vectors[at + WRITTEN + lane + GROUP * w];
            }
            add(&a, 0, at, &update);
            add(&b, 1, at, &update);
            add(&c, 2, at, &update);
            add(&d, 3, at, &update);
        }
        place += VALUE_HEADS;
    }
    store(&a, 0, kept, lane);
    store(&b, 1, kept, lane);
    store(&c, 2, kept, lane);
    store(&d, 3, kept, lane);
}
