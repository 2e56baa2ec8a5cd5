// Access to the queries and keys of a list.

const NONE = -3.0e38;
const LOG2_E = 1.44269504;
const LN_2 = 0.69314718;
// Token of a memory slot.
const SLOT = 0xfffffffeu;
// Token or time later than all positions; stands for no token.
const NEVER = 0xffffffffu;
// Token of a key before the first query.
const BEFORE = 0xfffffffdu;

@group(0) @binding(LISTS_BINDING) var<storage, read> lists: array<u32>;

// A key: its row in `k` (or `memory_k`) and `v`, counted in rows; the first query that sees it; the first query that
// no longer sees it; the query at its position.
struct Key {
    row: u32,
    since: u32,
    until: u32,
    token: u32,
}

// Returns the places [x, y) of a list's queries.
fn queries_of(list: u32) -> vec2u {
    return vec2u(lists[2 * list], lists[2 * list + 1]);
}

fn keys_of(list: u32) -> vec2u {
    let first = 2 * params.units * params.clusters;
    return vec2u(lists[first + 2 * list], lists[first + 2 * list + 1]);
}

fn query_token(unit: u32, place: u32) -> u32 {
    return lists[params.members + unit * params.entries + place];
}

// Returns the row of a token in tensors [B, tokens, H]; an invalid token is clamped.
fn row_of(unit: u32, tokens: u32, token: u32) -> u32 {
    return (unit / params.heads * tokens + min(token, tokens - 1)) * params.heads + unit % params.heads;
}

// Returns key `i` of a list, counting its memory slots first. Past the last key it returns one that no query sees.
fn key_of(list: u32, i: u32) -> Key {
    let unit = list / params.clusters;
    if i < params.slots {
        let row = (unit % params.heads * params.clusters + list % params.clusters) * params.slots + i;
        return Key(row, 0, NEVER, SLOT);
    }
    let places = keys_of(list);
    let place = places.x + i - params.slots;
    if place >= places.y {
        // Row 0 of a tensor that is never empty here.
        return Key(0, NEVER, NEVER, select(NEVER, SLOT, params.slots > 0));
    }
    let at = unit * params.key_entries + place;
    let token = lists[params.key_members + at];
    var key = Key(key_row(unit, token), select(0u, token, CAUSAL), NEVER, token);
    if EXPIRES {
        key.until = lists[params.until + at];
    }
    if OFFSET {
        let first = first_of(unit);
        key.since -= min(key.since, first);
        key.until -= min(key.until, first);
        key.token = select(BEFORE, token - min(token, first), token >= first);
    }
    if token >= params.key_tokens {
        key.since = NEVER;
    }
    return key;
}

fn sees(token: u32, key: Key) -> bool {
    return token >= key.since && token < key.until && !(OWN_EXCLUDED && token == key.token);
}
