// Interface of a list to tiles.wgsl, and the weight and derivative of one pair of query and key.

// A list: its places of queries and of keys.
struct Sequence {
    list: u32,
    queries: vec2u,
    keys: vec2u,
}

// A query: its token, and its row of rows.wgsl.
struct Query {
    token: u32,
    lse: f32,
    delta: f32,
    weight: f32,
}

// Bit that marks a place as a memory slot.
const OF_MEMORY = 0x80000000u;

fn sequence_of(b: u32) -> Sequence {
    return Sequence(b, queries_of(b), keys_of(b));
}

fn query_count(s: Sequence) -> u32 {
    return s.queries.y - s.queries.x;
}

fn key_count(s: Sequence) -> u32 {
    return params.slots + s.keys.y - s.keys.x;
}

// Returns the place of a query, counted over all heads; past the last query, the place of the last.
fn query_place(s: Sequence, item: u32) -> u32 {
    return s.list / params.clusters * params.entries + s.queries.x + min(item, query_count(s) - 1);
}

fn query_of(s: Sequence, item: u32) -> Query {
    let place = query_place(s, item);
    let token = lists[params.members + place];
    let at = params.rows + 3 * place;
    let counts = item < query_count(s) && token < params.tokens;
    // Rows of invalid places may hold any number.
    let row = select(vec3u(), vec3u(lists[at], lists[at + 1], lists[at + 2]), counts);
    return Query(token, bitcast<f32>(row.x), bitcast<f32>(row.y), bitcast<f32>(row.z));
}

fn query_places(s: Sequence, item: u32) -> vec2u {
    let unit = s.list / params.clusters;
    return vec2u(row_of(unit, params.tokens, lists[params.members + query_place(s, item)]));
}

fn key_places(s: Sequence, item: u32) -> vec2u {
    let key = key_of(s.list, item);
    return vec2u(key.row | select(0u, OF_MEMORY, key.token == SLOT));
}

fn key_at(place: u32) -> Key {
    return Key(place & ~OF_MEMORY, 0, 0, select(0u, SLOT, place >= OF_MEMORY));
}

fn load_key(place: u32, i: u32) -> vec4f {
    let key = key_at(place);
    return key_factor(key) * key_vector(key, i);
}

fn load_key_value(place: u32, i: u32) -> vec4f {
    return value_vector(key_at(place), i);
}

// Returns (weight of a key for a query, derivative of the loss with respect to their product without the scale).
fn pair(query: Query, key: Key, product: f32, derivative: f32) -> vec2f {
    let own = OWN_LAST && query.token == key.token;
    let z = select(product * params.scale, params.own_logit, own);
    // A masked logit may be any number; the bound keeps its exp2 finite.
    let weight = select(0.0, query.weight * exp2(min(z - query.lse, 120.0)), sees(query.token, key));
    return vec2f(weight, select(weight * (derivative - query.delta), 0.0, own));
}
